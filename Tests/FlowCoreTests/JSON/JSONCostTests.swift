import FlowCore
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// The cost of merging and comparing grows in proportion to the texts' lengths, whatever their form. Measured is the thread's
/// own processor time, the least of several runs, so that other processes do not count.
@Suite struct JSONCostTests {
    /// A target and a patch of about `size` members.
    struct Form: CustomTestStringConvertible, Sendable {
        var name: String
        var make: @Sendable (_ size: Int) -> (target: String, patch: String)

        var testDescription: String { self.name }
    }

    private static func nested(_ text: String, depth: Int) -> String {
        String(repeating: #"{"a":"#, count: depth) + text + String(repeating: "}", count: depth)
    }

    private static func object(_ count: Int, _ member: (Int) -> String) -> String {
        "{" + (0..<count).map(member).joined(separator: ",") + "}"
    }

    private static func wide(_ count: Int, value: String = "0") -> String {
        Self.object(count) { #""key\#($0)":\#(value)"# }
    }

    static let forms: [Form] = [
        Form(name: "wide") { (Self.wide($0), #"{"key7":1}"#) },
        Form(name: "deep, patched at the top") { (#"{"q":\#(Self.nested(Self.wide($0), depth: 60)),"z":0}"#, #"{"z":1}"#) },
        Form(name: "deep, patched at the bottom") {
            (Self.nested(Self.wide($0), depth: 60), Self.nested(#"{"key7":1}"#, depth: 60))
        },
        Form(name: "deep, patched by the same") {
            (Self.nested(Self.wide($0), depth: 60), Self.nested(Self.wide($0), depth: 60))
        },
        Form(name: "deep arrays, patched by the same but for the end") {
            let arrays = { (size: Int, last: Int) in
                #"{"x":"# + String(repeating: "[", count: 60) + String(repeating: "0,", count: size) + "\(last)"
                    + String(repeating: "]", count: 60) + "}"
            }
            return (arrays($0, 0), arrays($0, 1))
        },
        Form(name: "many small objects") {
            let objects = "[" + Array(repeating: #"{"a":{"b":[]}}"#, count: $0 / 4).joined(separator: ",")
            return (#"{"x":\#(objects),0]}"#, #"{"x":\#(objects),1]}"#)
        },
        Form(name: "one name repeated") { size in
            (Self.object(size) { #""a":\#($0)"# }, Self.object(size) { #""a":\#(size - $0)"# })
        },
        Form(name: "repeated objects, patched by a wide one") {
            (Self.object($0) { _ in #""a":{}"# }, #"{"a":\#(Self.wide($0))}"#)
        },
        Form(name: "repeated names within a compared array") { size in
            (
                #"{"x":[\#(Self.object(size) { #""k\#($0 % 50)":\#($0)"# })]}"#,
                #"{"x":[\#(Self.object(size) { #""k\#($0 % 50)":\#($0 < size - 50 ? -$0 : $0)"# })]}"#
            )
        },
        Form(name: "another order") { size in
            (#"{"x":[\#(Self.wide(size))]}"#, #"{"x":[\#(Self.object(size) { #""key\#(size - 1 - $0)":0"# })]}"#)
        },
        Form(name: "long names") { size in
            let names = { (last: String) in
                Self.object(8) { #""\#($0)\#(String(repeating: "n", count: size))\#(last)":0"# }
            }
            return (names("a"), names("b"))
        },
        Form(name: "escaped names") { size in
            (Self.object(size) { #""\u006b\u0065\u0079\#($0)":0"# }, Self.object(size) { #""ke\u0079\#($0)":1"# })
        },
    ]

    @Test(arguments: Self.forms) func costGrowsInProportionToTheSize(_ form: Form) throws {
        let single = try Self.texts(form, size: 1_000)
        let double = try Self.texts(form, size: 2_000)
        let (singleCost, doubleCost) = Self.costs(single, double)
        // Linear: 2; quadratic: 4.
        #expect(doubleCost < 3.1 * singleCost, "\(singleCost) s, then \(doubleCost) s")
    }

    /// A walk that reads each level again for the level around it costs 60 times as much.
    @Test func costDoesNotGrowWithTheDepth() throws {
        for patch in [#"{"z":1}"#, #"{"z":0}"#] {
            let flat = (try json(#"{"q":\#(Self.nested(Self.wide(2_000), depth: 1)),"z":0}"#), try json(patch))
            let deep = (try json(#"{"q":\#(Self.nested(Self.wide(2_000), depth: 61)),"z":0}"#), try json(patch))
            let (flatCost, deepCost) = Self.costs(flat, deep)
            #expect(deepCost < 3 * flatCost, "\(flatCost) s, then \(deepCost) s")
        }
        let bottom = try json(Self.nested(#"{"key7":1}"#, depth: 60))
        let flat = (try json(Self.nested(Self.wide(2_000), depth: 1)), try json(Self.nested(#"{"key7":1}"#, depth: 1)))
        let (flatCost, deepCost) = Self.costs(flat, (try json(Self.nested(Self.wide(2_000), depth: 60)), bottom))
        #expect(deepCost < 3 * flatCost, "\(flatCost) s, then \(deepCost) s")
    }

    @Test func anArrayBeyondTheLimitIsNotReadToItsEnd() {
        let million = Array(("[" + String(repeating: "0,", count: 500_000) + "0]").utf8)
        let small = Array(("[" + String(repeating: "0,", count: 100) + "0]").utf8)
        let (smallCost, largeCost) = Self.leastCosts(
            { #expect(JSONText.begins(arrayOfMoreThan: 100, small)) }, { #expect(JSONText.begins(arrayOfMoreThan: 100, million)) }
        )
        #expect(largeCost < 10 * smallCost + 0.000_1, "\(smallCost) s, then \(largeCost) s")
    }

    @Test(arguments: [
        ("[]", 1, false), ("[0]", 1, false), ("[0,0]", 1, true), (" [ {} , [1,2,3] , \"],,\" ] ", 2, true),
        (" [ {} , [1,2,3] , \"],,\" ] ", 3, false), ("{\"a\":[0,0,0]}", 1, false), ("", 1, false), ("[", 1, false),
    ])
    func countsTheElementsOfAnArray(_ text: String, _ limit: Int, _ isMore: Bool) {
        #expect(JSONText.begins(arrayOfMoreThan: limit, Array(text.utf8)) == isMore)
    }

    // MARK: Measuring

    private static func texts(_ form: Form, size: Int) throws -> (JSONText, JSONText) {
        let (target, patch) = form.make(size)
        return (try json(target), try json(patch))
    }

    private static func costs(_ first: (JSONText, JSONText), _ second: (JSONText, JSONText)) -> (Double, Double) {
        Self.leastCosts(
            { _ = PatchResult(of: first.1, on: first.0).state.isEquivalent(to: first.0) },
            { _ = PatchResult(of: second.1, on: second.0).state.isEquivalent(to: second.0) })
    }

    /// The least processor time of each body in seven runs, which alternate.
    private static func leastCosts(_ first: () -> Void, _ second: () -> Void) -> (Double, Double) {
        var least = (Double.infinity, Double.infinity)
        for _ in 0..<7 {
            least.0 = min(least.0, Self.cost(first))
            least.1 = min(least.1, Self.cost(second))
        }
        return least
    }

    /// The processor time of this thread for the body, in seconds.
    private static func cost(_ body: () -> Void) -> Double {
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let start = now()
        body()
        return now() - start
    }
}

private func json(_ text: String) throws -> JSONText { try JSONText(validating: text.utf8) }
