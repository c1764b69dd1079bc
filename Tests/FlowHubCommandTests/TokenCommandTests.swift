import Testing

@testable import flowhub

@Suite struct TokenCommandTests {
    @Test(arguments: [("90", 90), ("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("365d", 31_536_000)])
    func parsesTTLInEachUnit(text: String, seconds: Int) throws {
        #expect(try TokenCreateCommand.seconds(text) == seconds)
    }

    @Test(arguments: ["", "h", "0", "-1h", "1w", "366d", "9223372036854775807d", "1.5h"])
    func rejectsInvalidTTL(text: String) {
        #expect(throws: CommandFailure.self) { try TokenCreateCommand.seconds(text) }
    }
}
