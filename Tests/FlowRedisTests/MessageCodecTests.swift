import FlowCore
import Testing

@testable import FlowRedis

@Suite struct MessageCodecTests {
    private let codec = MessageCodec(authenticator: MessageAuthenticator(hubID: "hub"), origin: "i", maximumBytes: 1_000)
    private let other = MessageCodec(authenticator: MessageAuthenticator(hubID: "hub"), origin: "j", maximumBytes: 1_000)
    private let flow = FlowID("a").unsafelyUnwrapped

    private func result(_ text: String, hubID: String = "hub") -> String {
        let codec = MessageCodec(authenticator: MessageAuthenticator(hubID: hubID), origin: "i", maximumBytes: 1_000)
        return self.name(codec.decode(Array(text.utf8), from: self.flow, now: now()))
    }

    private func name(_ result: MessageCodec.DecodeResult) -> String {
        switch result {
        case .own: "own"
        case .echo: "echo"
        case .foreign: "foreign"
        case .rejected(let reason): reason.rawValue
        }
    }

    @Test func messagesRoundTrip() throws {
        let messages = try [
            durable(self.flow, 7), durable(self.flow, 8, account: "quote \" slash \\ ü", payload: "{}"),
            durable(self.flow, 9, payload: #"{"updates":{"b":1.50,"a":"\u0000"},"replace":true}"#),
            transient(self.flow, #"{"data":["}",1e2]}"#), transient(self.flow, "null"), transient(self.flow, #""text""#),
        ]
        for message in messages {
            let bytes = self.codec.encode(message, sequence: 1)
            #expect(self.name(self.codec.decode(bytes, from: self.flow, now: now())) == "echo")
            guard case .own(let received) = self.other.decode(bytes, from: self.flow, now: now()) else {
                Issue.record("\(message)")
                continue
            }
            #expect("\(received)" == "\(message)")
        }
    }

    @Test func rejectsTransientEventOlderThanTenSeconds() throws {
        let other = MessageCodec(authenticator: MessageAuthenticator(hubID: "hub"), origin: "j", maximumBytes: 1_000)
        let event = TransientEvent(
            type: try #require(EventType("tick")), data: .null, createdAt: Timestamp(milliseconds: 1_000_000))
        let message = BusMessage(flow: self.flow, account: "1", epoch: epoch, content: .transient(event))
        for (codec, age, expected) in [(other, 10_000, "own"), (other, 10_001, "late"), (self.codec, 60_000, "echo")] {
            let now = Timestamp(milliseconds: 1_000_000 + Int64(age))
            #expect(self.name(self.codec.decode(codec.encode(message, sequence: 1), from: self.flow, now: now)) == expected)
        }
        let durable = other.encode(try durable(self.flow, 7), sequence: 1)
        #expect(self.name(self.codec.decode(durable, from: self.flow, now: Timestamp(milliseconds: .max))) == "own")
    }

    @Test func messageContainsMembersOfLegacyFormat() throws {
        let json = try JSONText(validating: self.codec.encode(try durable(self.flow, 7), sequence: 3))
        #expect(json.member("type")?.stringValue == "state_update")
        #expect(json.member("flow_id")?.stringValue == "a")
        #expect(json.member("updates")?.string == #"{"n":1}"#)
        #expect(json.member("timestamp")?.stringValue == "2023-11-14T22:13:20.123Z")
        #expect(json.member("version")?.intValue == 7)
        #expect(json.member("seq")?.intValue == 3)
    }

    @Test func rejectsChangedBytesAsForged() throws {
        let bytes = self.codec.encode(try durable(self.flow, 7), sequence: 1)
        for index in bytes.indices.dropFirst(8) {
            var changed = bytes
            changed[index] ^= 1
            let result = self.name(self.other.decode(changed, from: self.flow, now: now()))
            // The two bytes between MAC and body are not covered by the MAC.
            #expect(result == (index == 40 || index == 41 ? "own" : "forged"), "byte \(index): \(result)")
        }
        #expect(self.result(String(decoding: bytes, as: UTF8.self), hubID: "another hub") == "forged")
        #expect(self.name(self.other.decode(bytes, from: try #require(FlowID("b")), now: now())) == "other_flow")
    }

    @Test(arguments: [
        (#"{"type": "state_update", "flow_id": "a", "updates": {"x": 1}, "timestamp": "t"}"#, "foreign"),
        (#"{"type":"custom","flow_id":"a","data":1}"#, "foreign"),
        (#"{"type":"custom"}"#, "foreign"),
        (#"{"type":"state_update","updates":{}}"#, "foreign"),
        (#"{"type":"state_update","flow_id":"a","updates":{},"version":3,"epoch":2}"#, "foreign"),
        (#"{"type":"state_update","flow_id":"b","updates":{}}"#, "other_flow"),
        (#"{"type":"state_update","flow_id":1,"updates":{}}"#, "other_flow"),
        (#"{"type":"state_update","flow_id":"a","updates":{},"epoch":"1.a","origin":"i"}"#, "forged"),
        (#"{"mac":"","type":"state_update","flow_id":"a","updates":{}}"#, "forged"),
        (#"{ "mac":"","type":"state_update","flow_id":"a","updates":{}}"#, "forged"),
        (#"{"type":"snapshot","flow_id":"a","data":{}}"#, "reserved_type"),
        (#"{"type":"flow_deleted","flow_id":"a","data":{}}"#, "reserved_type"),
        (#"{"type":"x y","flow_id":"a","data":{}}"#, "malformed"),
        (#"{"flow_id":"a","data":{}}"#, "malformed"),
        (#"{"type":"state_update","flow_id":"a"}"#, "malformed"),
        (#"{"type":"state_update","flow_id":"a","updates":1}"#, "malformed"),
        ("[]", "malformed"), ("", "malformed"), ("hello", "malformed"), ("{", "malformed"),
        (String(repeating: "[", count: 900), "malformed"),
        (#"{"type":"custom","flow_id":"a","data":"\#(String(repeating: "x", count: 1_000))"}"#, "too_large"),
    ])
    func classifiesForeignAndInvalidMessages(text: String, expected: String) { #expect(self.result(text) == expected) }

    /// What is neither the type, the flow nor the time is the event's data.
    @Test(arguments: [
        (#"{"type":"t","data":{"n":1}}"#, #""data":{"n":1}"#),
        (#"{"type":"t","updates":[1]}"#, #""data":[1]"#),
        (#"{"type":"t","timestamp":"x","flow_id":"a","message":"m","n":1}"#, #""data":{"message":"m","n":1}"#),
        (#"{"type":"t","data":1,"message":"m"}"#, #""data":{"data":1,"message":"m"}"#),
        (#"{"type":"t"}"#, #""data":{}"#),
        (#"{"type":"state_update","updates":{"n":1}}"#, #""updates":{"n":1}"#),
        (#"{"type":"state_update","data":{"n":1}}"#, #""updates":{"n":1}"#),
        (#"{"type":"state_update","status":"done"}"#, #""updates":{"status":"done"}"#),
        (#"{"type":"state_update","updates":{"n":1},"by":"x"}"#, #""updates":{"n":1},"data":{"by":"x"}"#),
    ])
    func takesFurtherMembersAsData(text: String, expected: String) throws {
        guard case .foreign(let event) = self.codec.decode(Array(text.utf8), from: self.flow, now: now()) else {
            return #expect(Bool(false), "\(text)")
        }
        let envelope = event.envelope(of: self.flow).string
        #expect(envelope.hasPrefix(#"{"type":"\#(event.type)","flow_id":"a",\#(expected),"timestamp""#), "\(envelope)")
        #expect(envelope.hasSuffix(#","foreign":true}"#))
    }
}

@Suite struct RedisSettingsTests {
    @Test func parsesURLsOfEveryForm() throws {
        var expected = RedisSettings()
        #expect(try RedisSettings(url: "redis://127.0.0.1:6379") == expected)
        expected.host = "h"
        #expect(try RedisSettings(url: "redis://h/") == expected)
        expected.database = 3
        expected.port = 7
        #expect(try RedisSettings(url: "redis://h:7/3?x=y") == expected)
        expected.user = "u"
        expected.password = "p@:/"
        #expect(try RedisSettings(url: "redis://u:p%40%3A%2F@h:7/3") == expected)
        expected.usesTLS = true
        expected.user = nil
        expected.host = "::1"
        #expect(try RedisSettings(url: "REDISS://:p%40%3A%2F@[::1]:7/3") == expected)
        let upstash = try RedisSettings(upstash: "https://eu1-x.upstash.io", token: "T")
        #expect(upstash.host == "eu1-x.upstash.io" && upstash.port == 6_379 && upstash.usesTLS)
        #expect(upstash.user == "default" && upstash.password == "T")
        // Upstash also shows a URL with the token in it.
        let whole = try RedisSettings(upstash: "rediss://default:p%40@eu1-x.upstash.io:6380", token: nil)
        #expect(whole.host == "eu1-x.upstash.io" && whole.port == 6_380 && whole.usesTLS && whole.password == "p@")
        #expect(whole.summary == "eu1-x.upstash.io:6380/0 over TLS")
        for (url, token) in [
            ("https://x.upstash.io", nil), ("https://x.upstash.io", ""), ("http://x", "T"), ("x.upstash.io", "T"),
        ] {
            let error = #expect(throws: RedisError.self) {
                try RedisSettings(upstash: url, token: token, urlKey: "A_URL", tokenKey: "A_TOKEN")
            }
            #expect(error?.description.contains("A_URL") == true)
        }
    }

    @Test(arguments: ["", "h:6379", "http://h", "redis://h:x", "redis://h:0", "redis://h/x", "redis://u:%zz@h", "redis://[::1"])
    func rejectsInvalidURLWithoutShowingPassword(url: String) {
        let error = #expect(throws: RedisError.self) { try RedisSettings(url: url) }
        #expect(error?.code == .url && error?.description.contains("redis[s]://") == true)
    }
}
