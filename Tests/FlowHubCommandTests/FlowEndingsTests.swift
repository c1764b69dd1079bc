import FlowCore
import Testing

@testable import flowhub

@Suite struct FlowEndingsTests {
    private static func endings(_ events: [(String, String)], flows: [String] = ["a"]) throws -> FlowEndings {
        var endings = FlowEndings(flows.compactMap { FlowID($0) })
        for (type, data) in events { endings.read(type, try JSONText(validating: data.utf8)) }
        return endings
    }

    @Test func terminalStatusFinishesFlowUntilRemoved() throws {
        let done = ("state_update", #"{"flow_id":"a","version":2,"updates":{"status":"completed"}}"#)
        #expect(try Self.endings([done]).allFinished)
        #expect(try Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"n":1}}"#)]).allFinished)
        #expect(try !Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"status":null}}"#)]).allFinished)
        #expect(try !Self.endings([done, ("state_update", #"{"flow_id":"a","updates":{"n":1},"replace":true}"#)]).allFinished)
        #expect(try !Self.endings([done], flows: ["a", "b"]).allFinished)
        #expect(try Self.endings([("flow_deleted", #"{"flow_id":"a"}"#)]).allFinished)
    }

    @Test func closingEndsNamedFlowOrAllFlows() throws {
        let one = ("closing", #"{"reason":"finished","reconnect":false,"flow_id":"a"}"#)
        #expect(try !Self.endings([one], flows: ["a", "b"]).allClosed)
        let all = try Self.endings([("closing", #"{"reason":"revoked","reconnect":false}"#)], flows: ["a", "b"])
        #expect(all.allClosed)
        #expect(all.lostAccess)
        #expect(try !Self.endings([("closing", #"{"reason":"drain","reconnect":true}"#)]).allClosed)
    }
}
