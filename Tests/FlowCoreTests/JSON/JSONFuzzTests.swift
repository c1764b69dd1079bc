import FlowCore
import Foundation
import Testing

/// Compares the JSON code, on random input, with two models: a tree, and Foundation's `JSONSerialization`.
///
/// Each run has a new seed; a failure reports the seed of its case. To repeat a run, set `FLOWHUB_FUZZ_SEED=<seed>`.
/// For a longer one, set `FLOWHUB_FUZZ_ROUNDS=<factor>`.
@Suite struct JSONFuzzTests {
    /// Seed of the first case of the run. Each further case has the next number.
    static let seed: UInt64 = {
        let fixed = ProcessInfo.processInfo.environment["FLOWHUB_FUZZ_SEED"].flatMap { UInt64($0) }
        let seed = fixed ?? UInt64.random(in: 0...0xFFFF_FFFF)
        print("JSON fuzz: FLOWHUB_FUZZ_SEED=\(seed)")
        return seed
    }()

    static let rounds = ProcessInfo.processInfo.environment["FLOWHUB_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 1

    static func cases(_ count: Int) -> Range<UInt64> { Self.seed..<Self.seed + UInt64(count * Self.rounds) }

    @Test func validDocumentsMatchReferenceTree() throws {
        for seed in Self.cases(700) {
            var documents = JSONFuzzDocuments(seed: seed)
            let tree = documents.tree()
            let text = try #require(try? JSONText(validating: documents.spelled(tree)), "seed \(seed)")
            #expect(JSONTree(text) == tree, "seed \(seed)")

            let compact = documents.spelled(tree, loose: false)
            #expect(try JSONText(validating: compact).bytes == compact, "seed \(seed)")
            #expect(text.isEquivalent(to: JSONText(trusted: compact)), "seed \(seed)")
        }
    }

    @Test func foundationReadsSameValues() throws {
        for seed in Self.cases(400) {
            var documents = JSONFuzzDocuments(seed: seed)
            documents.repeatsKeys = false
            let bytes = documents.spelled(documents.tree())
            guard !JSONFoundation.isKnownToDiffer(bytes) else { continue }
            let text = try #require(try? JSONText(validating: bytes), "seed \(seed)")
            let value = try #require(try? JSONFoundation.read(bytes), "seed \(seed)")
            #expect(JSONFoundation.agrees(value, text), "seed \(seed)")
        }
    }

    @Test func foundationRejectsSameDocuments() throws {
        for seed in Self.cases(4000) {
            var documents = JSONFuzzDocuments(seed: seed)
            let document = documents.spelled(documents.tree(depth: 2))
            let bytes = documents.random.chance(30) ? documents.noise() : documents.mutated(document)
            guard !JSONFoundation.isKnownToDiffer(bytes) else { continue }
            let isOurs = (try? JSONText(validating: bytes)) != nil
            let isFoundations = (try? JSONFoundation.read(bytes)) != nil
            #expect(isOurs == isFoundations, "seed \(seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
        }
    }

    @Test func mergePatchMatchesReferenceModel() throws {
        for seed in Self.cases(500) {
            var documents = JSONFuzzDocuments(seed: seed)
            let target = documents.random.chance(90) ? documents.object() : documents.tree()
            let patch = documents.random.chance(90) ? documents.object() : documents.tree()
            let targetText = try JSONText(validating: documents.spelled(target))
            let patchText = try JSONText(validating: documents.spelled(patch))
            let result = targetText.applying(mergePatch: patchText)
            #expect(try JSONText(validating: result.bytes) == result, "seed \(seed)")

            let expected = target.meaning.applying(patch.meaning)
            #expect(JSONTree(result).meaning == expected, "seed \(seed)")
            #expect(result.isEquivalent(to: targetText) == (expected == target.meaning), "seed \(seed)")
            let isChanged = PatchResult(of: patchText, on: targetText).isChanged
            #expect(isChanged == (expected != target.meaning), "seed \(seed)")
        }
    }
}
