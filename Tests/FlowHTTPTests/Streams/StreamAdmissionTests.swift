import FlowCore
import HTTPTypes
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import FlowHTTP

/// What a request for an event stream is answered, without a transport.
@Suite struct StreamAdmissionTests {
    private static let path = "/v1/flows/f/events"

    /// What time it is, and whether all tokens are revoked.
    private final class Moment: Sendable {
        let now = Mutex<Int64>(1_000)
        let isRevoked = Mutex(false)
    }

    private final class World: Sendable {
        let moment = Moment()
        let services: StreamServices
        let access: AccessControl

        init(limit: Int = 10, perSubject: Int = 10) async throws {
            var configuration = StreamConfiguration()
            configuration.maximumConnections = limit
            configuration.maximumConnectionsPerSubject = perSubject
            self.services = .empty(epoch: Epoch(counter: 1, random: "a"), configuration: configuration)
            self.services.table.attach([LaggingDeliverySink()])
            let moment = self.moment
            self.access = AccessControl(
                verifier: try await TokenVerifier(AccessConfiguration(hmacKey: TokenForge.secret)), cors: .none,
                proxies: try TrustedProxies([], statement: .xForwardedFor), isRevoked: { _ in moment.isRevoked.withLock { $0 } },
                now: { Timestamp(milliseconds: moment.now.withLock { $0 } * 1_000) })
        }

        /// Decides about a request, and describes the decision.
        func decide(
            _ access: RequestAccess, _ target: String = StreamAdmissionTests.path, isHead: Bool = false
        ) async throws -> String {
            let loop = MultiThreadedEventLoopGroup.singleton.any()
            return try await loop.submit {
                let shard = StreamShard(loop: loop, services: self.services, sinkIndex: 0)
                let admission = StreamAdmission(access: self.access, shard: shard)
                let head = HTTPRequest(method: .get, scheme: "http", authority: "localhost", path: target)
                do throws(StreamRequest.Malformed) {
                    let request = try admission.parse(head, target: RequestPath(target), remote: "127.0.0.1")
                    return Self.text(admission.admit(request, access, isHead: isHead, record: nil))
                } catch {
                    return error.code
                }
            }.get()
        }

        private static func text(_ decision: StreamAdmission.Decision) -> String {
            switch decision {
            case .open(let admitted): "open \(admitted.number) of \(admitted.principal.subject)"
            case .problem(let problem): "\(problem.status.code) \(problem.code)"
            case .full(let block): String(buffer: block.payload).contains(#""reason":"full","reconnect":true}"#) ? "full" : "?"
            case .drain: "drain"
            case .head(let claim): claim == nil ? "head" : "head with a claim"
            }
        }
    }

    private static func anna(_ flows: FlowPattern = .all, subject: String = "anna", expiresAt: Int64? = nil) -> Principal {
        Principal(account: "7", subject: subject, subscribe: [flows], publish: [], scopes: [], issuedAt: 1, expiresAt: expiresAt)
    }

    @Test func tokenAndRightsDecide() async throws {
        let world = try await World()
        #expect(try await world.decide(.denied(.tokenMissing)) == "401 token_missing")
        #expect(try await world.decide(.notNeeded) == "401 token_missing")
        #expect(try await world.decide(.granted(Self.anna())) == "open 1 of anna")
        #expect(try await world.decide(.granted(Self.anna(try #require(FlowPattern("g-*"))))) == "403 forbidden")
        world.moment.isRevoked.withLock { $0 = true }
        #expect(try await world.decide(.granted(Self.anna())) == "401 token_revoked")
        #expect(try await world.decide(.granted(.open)) == "open 2 of ", "without keys nothing is revoked")
    }

    /// The body of a request may arrive long after its head.
    @Test func tokenThatHasExpiredSinceTheHeadIsRefused() async throws {
        let world = try await World()
        let principal = Self.anna(expiresAt: 1_100)
        #expect(try await world.decide(.granted(principal)) == "open 1 of anna")
        world.moment.now.withLock { $0 = 2_000 }
        #expect(try await world.decide(.granted(principal)) == "401 token_expired")
    }

    @Test func limitsAnswerWithAStreamThatEnds() async throws {
        let world = try await World(limit: 3, perSubject: 2)
        #expect(try await world.decide(.granted(Self.anna())) == "open 1 of anna")
        #expect(try await world.decide(.granted(Self.anna())) == "open 2 of anna")
        #expect(try await world.decide(.granted(Self.anna())) == "full")
        #expect(try await world.decide(.granted(Self.anna(subject: "ben"))) == "open 3 of ben")
        #expect(try await world.decide(.granted(Self.anna(subject: "eve"))) == "full")
        #expect(world.services.refusalCounts == [.full: 2] && world.services.streamCount == 3)
        let request = try StreamRequest(path: Substring(Self.path), query: "", lastEventID: nil, maximumFlows: 1)
        world.services.release(Self.anna(), flows: request.flows)
        #expect(try await world.decide(.granted(Self.anna())) == "open 4 of anna")
    }

    @Test func malformedRequestIsRefusedAndCountsNothing() async throws {
        let world = try await World()
        #expect(try await world.decide(.granted(.open), "/v1/flows/a%20b/events") == "bad_flow_id")
        #expect(try await world.decide(.granted(.open), "/v1/events") == "flow_missing")
        #expect(world.services.streamCount == 0)
    }

    @Test func headIsDecidedLikeGETAndCountsNothing() async throws {
        let world = try await World(limit: 1)
        #expect(try await world.decide(.denied(.tokenMissing), isHead: true) == "401 token_missing")
        #expect(try await world.decide(.granted(Self.anna(try #require(FlowPattern("g-*")))), isHead: true) == "403 forbidden")
        for _ in 0..<3 { #expect(try await world.decide(.granted(Self.anna()), isHead: true) == "head") }
        #expect(
            try await world.decide(.granted(Self.anna()), Self.path + "?last_event_id=1.a-5", isHead: true)
                == (Epoch("1.a") == Epoch(counter: 1, random: "a") ? "head with a claim" : "head"))
        #expect(try await world.decide(.granted(Self.anna()), "/v1/feed/", isHead: true) == "head")
        #expect(world.services.streamCount == 0)
    }

    @Test func drainDeclinesAndCounts() async throws {
        let world = try await World()
        world.services.startDraining()
        #expect(try await world.decide(.denied(.tokenMissing)) == "drain")
        #expect(try await world.decide(.granted(.open)) == "drain")
        #expect(world.services.refusalCounts == [.drain: 2] && world.services.streamCount == 0)
    }
}
