import FlowCore
import Foundation
import Testing

/// Compares the record reader, on random input in random chunks, with the reader of whole documents and with
/// Foundation's.
@Suite struct JSONRecordFuzzTests {
    @Test func lineIsReadLikeWholeDocument() throws {
        for seed in JSONFuzzTests.cases(3000) {
            var documents = JSONFuzzDocuments(seed: seed)
            let document = documents.spelled(documents.tree(depth: 3))
            let changed =
                switch documents.random.below(10) {
                case 0..<3: document
                case 3..<5: documents.noise()
                default: documents.mutated(document)
                }
            // Line feeds would split the document into several lines.
            let bytes = changed.map { $0 == 0x0A ? 0x20 : $0 }
            guard bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { continue }
            let reading = RecordReaderFixture(bytes, .ndjson)
            do throws(JSONError) {
                let text = try JSONText(validating: bytes)
                #expect(reading.records == [text.string], "seed \(seed)")
            } catch {
                Self.compare(reading.error, error, seed)
            }
            let cuts = Self.cuts(bytes.count, &documents)
            #expect(RecordReaderFixture(bytes, .ndjson, cuts: cuts) == reading, "seed \(seed), cut at \(cuts)")
        }
    }

    private static func compare(_ error: ImportInputError?, _ expected: JSONError, _ seed: UInt64) {
        let codes: [ImportInputError.Code] =
            switch expected.code {
            case .depthExceeded: [.tooDeep]
            // A number is checked after its end. If the input ends before, incomplete JSON is reported instead.
            case .invalidNumber: [.badNumber, .badJSON]
            case .invalidUTF8: [.badUTF8, .badJSON]
            case .loneSurrogate: [.badUTF8, .badJSON]
            // The first byte may be that of a UTF-16 byte order mark.
            case .syntax: expected.offset == 0 ? [.badJSON, .badUTF8] : [.badJSON]
            case .unexpectedEnd, .invalidString, .trailingData: [.badJSON]
            }
        guard let error, codes.contains(error.code) else {
            Issue.record("seed \(seed): \(String(describing: error)) instead of \(expected)")
            return
        }
        #expect(error.line == 1 && error.column == error.offset + 1, "seed \(seed)")
        // If the input ends within a token, the reader of lines reports the end of the input.
        let endsWithin = error.description.contains("the data ends")
        #expect(
            endsWithin ? error.offset >= expected.offset : error.offset == expected.offset, "seed \(seed): \(error), \(expected)")
    }

    private static func cuts(_ count: Int, _ documents: inout JSONFuzzDocuments) -> [Int] {
        (0..<documents.random.below(6)).map { _ in documents.random.below(count + 1) }.sorted()
    }

    @Test func foundationReadsSameRecords() throws {
        for seed in JSONFuzzTests.cases(400) {
            var documents = JSONFuzzDocuments(seed: seed)
            documents.repeatsKeys = false
            let trees = (0..<documents.random.below(5)).map { _ in documents.tree(depth: 3) }
            let bytes = documents.spelled(.array(trees))
            guard !JSONFoundation.isKnownToDiffer(bytes) else { continue }
            let reading = RecordReaderFixture(bytes, .json, target: 1 + documents.random.below(200))
            #expect(reading.records.count == trees.count, "seed \(seed)")
            let read = try #require(try? JSONText(validating: reading.document.utf8), "seed \(seed)")
            #expect(JSONTree(read) == .array(trees), "seed \(seed)")
            let value = try #require(try? JSONFoundation.read(Array(reading.document.utf8)), "seed \(seed)")
            #expect(JSONFoundation.agrees(value, read), "seed \(seed)")
        }
    }

    @Test func foundationRejectsSameArrays() {
        for seed in JSONFuzzTests.cases(3000) {
            var documents = JSONFuzzDocuments(seed: seed)
            let tree =
                documents.random.chance(80)
                ? JSONTree.array([documents.tree(depth: 2), documents.tree(depth: 1)]) : documents.object()
            let bytes = documents.mutated(documents.spelled(tree))
            let first = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
            guard first == UInt8(ascii: "[") || first == UInt8(ascii: "{"), !JSONFoundation.isKnownToDiffer(bytes) else {
                continue
            }
            let reading = RecordReaderFixture(bytes, .json)
            let isFoundations = (try? JSONFoundation.read(bytes)) != nil
            #expect(
                (reading.error == nil) == isFoundations,
                "seed \(seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
            let cuts = Self.cuts(bytes.count, &documents)
            #expect(RecordReaderFixture(bytes, .json, cuts: cuts) == reading, "seed \(seed), cut at \(cuts)")
        }
    }

    /// For any limits, the chunks change neither the records nor the first error.
    @Test func chunkBoundariesDoNotChangeRecordsOrError() {
        for seed in JSONFuzzTests.cases(1500) {
            var documents = JSONFuzzDocuments(seed: seed)
            var limits = ImportLimits()
            limits.recordBytes = 1 + documents.random.below(60)
            limits.jsonDepth = documents.random.below(4)
            limits.numberLength = 1 + documents.random.below(8)
            limits.summaryFields = documents.random.below(4)
            let format = documents.random.pick([.json, .ndjson, nil] as [ImportFormat?])
            var bytes: [UInt8] = documents.random.chance(20) ? [0xEF, 0xBB, 0xBF] : []
            for _ in 0..<documents.random.below(5) {
                let record = documents.spelled(documents.tree(depth: 2), loose: documents.random.chance(50))
                bytes += documents.random.chance(20) ? documents.mutated(record) : record
                bytes.append(UInt8(ascii: format == .json ? "," : "\n"))
            }
            if format == .json { bytes = [UInt8(ascii: "[")] + bytes.dropLast() + [UInt8(ascii: "]")] }
            let target = 1 + documents.random.below(50)
            let reading = RecordReaderFixture(bytes, format, limits: limits, target: target)
            for cuts in [Self.cuts(bytes.count, &documents), Array(0...bytes.count)] {
                let again = RecordReaderFixture(bytes, format, limits: limits, cuts: cuts, target: target)
                #expect(again == reading, "seed \(seed), cut at \(cuts)")
            }
        }
    }
}
