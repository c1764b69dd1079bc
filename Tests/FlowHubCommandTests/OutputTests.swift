import FlowCore
import Testing

@testable import flowhub

@Suite struct OutputTests {
    private static func printed(_ type: String, _ data: String, json: Bool = false) -> String {
        var printer = EventPrinter(json: json, palette: Palette(isOn: false), namesFlow: false, width: nil)
        return printer.text(of: ServerEvent(type: type, data: data, id: "e-1"), now: Timestamp(milliseconds: 0))
    }

    @Test func jsonLineContainsEventIDAndData() {
        #expect(Self.printed("tick", #"{"n":1.50}"#, json: true) == #"{"event":"tick","id":"e-1","data":{"n":1.50}}"# + "\n")
        #expect(Self.printed("tick", "not json", json: true) == #"{"event":"tick","id":"e-1","data":"not json"}"# + "\n")
    }

    @Test func escapesControlCharactersOfPublishedText() {
        let data =
            "{\"flow_id\":\"a\",\"version\":1,\"data\":\"\u{9B}31m\u{7F}\u{202E}\",\"timestamp\":\"2026-11-23T19:05:00.123Z\"}"
        #expect(Self.printed("tick", data) == "19:05:00 #1      tick           \"\\u{9b}31m\\u{7f}\\u{202e}\"\n")
        #expect(!Self.printed("closing", #"{"reason":"\u001b[2J","reconnect":true}"#).contains("\u{1B}"))
        #expect(!Self.printed("tick", "\u{1B}[2J").contains("\u{1B}"))
        #expect(!Self.printed("tick", #"{"data":{"percent":40,"message":"\u001b[2J"}}"#).contains("\u{1B}"))
    }

    @Test func drawsProgressBarFromEventData() throws {
        let progress = try #require(Progress(JSONText(validating: #"{"done":3,"total":12,"stage":"reading"}"#.utf8)))
        #expect(progress.bar(Palette(isOn: false), cells: 8) == "██░░░░░░ 25% ")
        #expect(progress.note == "reading")
        #expect(try Progress(JSONText(validating: #"{"n":1}"#.utf8)) == nil)
        #expect(try Progress(JSONText(validating: #"{"percent":1e300}"#.utf8))?.share == 1)
    }

    @Test func prettyPrintingKeepsValuesAsWritten() throws {
        let text = try JSONText(validating: #"{"a":[],"b":{},"c":[1,{"d":1.50}],"e":"x\u0041"}"#.utf8)
        #expect(
            text.pretty == """
                {
                  "a": [],
                  "b": {},
                  "c": [
                    1,
                    {
                      "d": 1.50
                    }
                  ],
                  "e": "x\\u0041"
                }
                """)
        #expect(JSONText.null.pretty == "null")
    }

    @Test func truncationCountsOnlyVisibleCharacters() {
        #expect("abcdef".truncated(to: 4) == "abc…")
        #expect("\u{1B}[31mabcdef\u{1B}[0m".truncated(to: 4) == "\u{1B}[31mabc…\u{1B}[0m")
        #expect("abc".truncated(to: 4) == "abc")
    }
}
