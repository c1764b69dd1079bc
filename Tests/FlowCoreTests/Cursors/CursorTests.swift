import FlowCore
import NIOCore
import Testing

@Suite struct CursorTests {
    private static let epoch = Epoch(counter: 7, random: "a")

    @Test func readsEmptyAndZeroCursor() {
        #expect(Cursor("") == .none)
        #expect(Cursor("0") == .start)
    }

    @Test func cursorOfOneFlowRoundTrips() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<500 {
            let epoch = Epoch(counter: (generator.next() >> UInt64(generator.below(64))) & 0xfff_ffff_ffff, random: "x9")
            let version = Version(generator.next() >> UInt64(1 + generator.below(63)))
            var buffer = ByteBuffer()
            buffer.writeIDLine(.flow(epoch, version))
            #expect(Cursor(String(buffer: buffer).dropFirst(4).dropLast()) == .flow(epoch, version))
        }
    }

    @Test func cursorOfSeveralFlowsRoundTrips() throws {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<200 {
            let flows = (0..<2 + generator.below(11)).map { Sample.id("flow-\($0)") }.sorted()
            let versions: [Version?] = flows.map { _ in generator.chance(20) ? nil : Version(generator.below(78_364_164_096)) }
            let hash = FlowSetHash(of: flows)
            var buffer = ByteBuffer()
            buffer.writeIDLine(.flows(Self.epoch, hash, versions))
            #expect(Cursor(String(buffer: buffer).dropFirst(4).dropLast()) == .flows(Self.epoch, hash, versions))
        }
    }

    /// Seven digits of base 36 allow for 78 billion events per flow. A longer cursor costs a browser a preflight.
    @Test(arguments: [
        (flows: 12, version: Version(78_364_164_095), length: Cursor.maximumPlainLength),
        (flows: 100, version: Version.max, length: Cursor.maximumLength),
    ])
    func cursorOfSeveralFlowsFitsMaximumLength(count: Int, version: Version, length: Int) throws {
        let flows = (0..<count).map { Sample.id("\($0)") }.sorted()
        let epoch = try #require(Epoch("zzzzzzzzz.zzzzzz"))
        #expect(epoch.description.utf8.count == Epoch.maximumLength)
        var buffer = ByteBuffer()
        let versions = flows.map { _ -> Version? in version }
        buffer.writeIDLine(.flows(epoch, FlowSetHash(of: flows), versions))
        let id = String(buffer: buffer).dropFirst(4).dropLast()
        #expect(id.utf8.count <= length)
        #expect(id.utf8.allSatisfy { byte in Array("._~-".utf8).contains(byte) || Character(Unicode.Scalar(byte)).isASCIIName })
        #expect(Cursor(id) == .flows(epoch, FlowSetHash(of: flows), versions))
    }

    @Test(arguments: [
        "7.a-9", " 7.a-9\t", "\"7.a-9\"", "W/\"7.a-9\"", " W/\"7.a-9\" ",
    ])
    func sentCursorMayHaveTheFormOfAnEntityTag(_ text: String) {
        #expect(Cursor(sent: text) == .flow(Self.epoch, 9))
    }

    @Test func otherQuotesAreUnreadable() {
        for text in ["\"7.a-9", "7.a-9\"", "'7.a-9'", "w/\"7.a-9\"", "W/7.a-9", "\"\"7.a-9\"\"", "\"", "W/", "7.a-9\u{a0}"] {
            #expect(Cursor(sent: text) == .unreadable, "\(text)")
        }
        #expect(Cursor(sent: "\"\"") == .none && Cursor(sent: "  ") == .none && Cursor(sent: "\"0\"") == .start)
        #expect(Cursor("\"7.a-9\"") == .unreadable, "ids of the hub have no quotes")
    }

    @Test(arguments: [
        "00", "1", "-", "--", "---", "~", " ", "7.a", "7.a-", "7.a--1", "7.a-+1", "7.a- 1", "7.a-1 ", "7.a-1-", "-1", "7-1",
        ".a-1", "7.-1", "7.A-1", "7.a-0x1", "7.a-1.0", "7.a-9223372036854775808", "7.a-\u{661}", "7.a-12345678901-",
        "7.a-1234567890-1", "7.a-123456789012-1", "7.a-1234567890_-1", "7.a-12345678901-1.", "7.a-12345678901-.1",
        "7.a-12345678901-1..2",
        "7.a-12345678901-~~", "7.a-12345678901-A", "7.a-12345678901-1-2", "7.a-12345678901-zzzzzzzzzzzzzz", "7.a-1\n",
        "7.a-1\u{0}", "12345678901234567.a-1", "7.a\u{301}-1", String(repeating: "9", count: 129), "null", "undefined", "*",
    ])
    func malformedCursorIsUnreadable(_ text: String) { #expect(Cursor(text) == .unreadable) }

    @Test func randomBytesNeverTrap() {
        var generator = SeededGenerator(seed: 3)
        let letters = Array("0179az.~-A+ é\u{0}")
        for _ in 0..<20_000 {
            let text = String((0..<generator.below(24)).map { _ in letters[generator.below(letters.count)] })
            _ = Cursor(text)
        }
    }

    @Test func hashDistinguishesFlowSets() {
        let sets = [["a", "b"], ["ab", "c"], ["a", "bc"], ["a", "b", "c"], ["b", "c"], ["a", "c"], ["a"], ["a-b", "c"]]
        let hashes = sets.map { FlowSetHash(of: $0.map(Sample.id)).description }
        #expect(Set(hashes).count == sets.count)
        #expect(hashes.allSatisfy { $0.utf8.count == FlowSetHash.length })
        // The hash is on the wire and must not change between releases.
        #expect(hashes[0] == FlowSetHash(of: [Sample.id("a"), Sample.id("b")]).description)
    }
}

extension Character {
    fileprivate var isASCIIName: Bool { self.isASCII && (self.isLetter || self.isNumber) }
}
