import HTTPTypes
import NIOCore
import Testing

@testable import FlowHTTP

/// The HTTP/1.1 requests of one connection, as scripts of events and actions with a clock of the test.
@Suite struct RequestMachineTests {
    /// A machine with its clock and what it must be told of the connection.
    private struct Script {
        var machine: RequestMachine
        var configuration: HTTPConfiguration
        var now = NIODeadline.uptimeNanoseconds(0)
        var queuedBytes = 0
        var isWritable = true
        var hasReceivedBytes = false
        var isWriterWaiting = false
        var isBodyFull = false

        init(_ change: (inout HTTPConfiguration) -> Void = { _ in }) {
            self.configuration = HTTPConfiguration()
            change(&self.configuration)
            self.machine = RequestMachine(at: self.now, self.configuration)
        }

        mutating func receive(_ part: RequestPart) -> RequestMachine.Action {
            self.machine.received(part, at: self.now, self.configuration)
        }

        /// Receives a request without a body, and begins to answer it.
        mutating func request(_ head: RequestHead = RequestMachineTests.get) {
            #expect(self.receive(.head(head)) == .begin(head))
            self.machine.readBody(at: self.now, self.configuration)
            #expect(self.receive(.end) == .respond)
            self.machine.responding()
        }

        mutating func written() -> RequestMachine.Action {
            self.machine.responseWritten(
                isWritable: self.isWritable, queuedBytes: self.queuedBytes, at: self.now, self.configuration)
        }

        /// Receives a request for a stream, which is opened.
        mutating func stream(_ head: RequestHead = RequestMachineTests.get, hasEnd: Bool = true) {
            #expect(self.receive(.head(head)) == .begin(head))
            self.machine.admitting()
            if hasEnd { #expect(self.receive(.end) == .nothing) }
            self.machine.opening()
            self.machine.streaming()
        }

        mutating func streamEnded(keeps: Bool = true) -> RequestMachine.Action {
            self.machine.streamEnded(
                keeps: keeps, isWritable: self.isWritable, queuedBytes: self.queuedBytes, at: self.now, self.configuration)
        }

        mutating func tick(after seconds: Int64) -> RequestMachine.Action {
            self.now = self.now + .seconds(seconds)
            return self.machine.tick(
                at: self.now,
                RequestMachine.Progress(
                    queuedBytes: self.queuedBytes, hasReceivedBytes: self.hasReceivedBytes,
                    isWriterWaiting: self.isWriterWaiting, isBodyFull: self.isBodyFull), self.configuration)
        }

        mutating func mayRead(hasRoom: Bool = true) -> Bool {
            self.machine.mayRead(isBodyFull: self.isBodyFull, hasRoom: hasRoom, self.configuration)
        }

        mutating func linger(_ action: RequestMachine.Action) {
            guard case .linger(let time) = action else {
                Issue.record("\(action)")
                return
            }
            self.machine.linger(time, queuedBytes: self.queuedBytes, at: self.now, self.configuration)
        }
    }

    private static let get = RequestHead(HTTPRequest(method: .get, scheme: "http", authority: "localhost", path: "/"))
    private static let last = RequestHead(Self.get.request, isKeepAlive: false)
    private static let old = RequestHead(Self.get.request, isKeepAlive: true, readsChunks: false)
    private static let chunk = ByteBuffer(repeating: 7, count: 1_000)

    // MARK: Requests

    @Test func requestsFollowOneAnother() {
        var script = Script()
        for _ in 0..<2 {
            script.request()
            #expect(script.machine.responseBegins(isDraining: false) == false)
            #expect(script.written() == .next)
            #expect(script.machine.phase == .idle)
        }
        script.request(Self.last)
        #expect(script.machine.responseBegins(isDraining: false) == true, "the client has requested the close")
        #expect(script.written() == .linger(.short))
    }

    @Test func bodyIsKeptUpToItsLimit() {
        var script = Script { $0.maximumBodyBytes = 1_500 }
        _ = script.receive(.head(Self.get))
        script.machine.readBody(at: script.now, script.configuration)
        #expect(script.receive(.body(Self.chunk)) == .keep(Self.chunk))
        #expect(script.receive(.body(Self.chunk)) == .reject(.bodyTooLarge))
        script.machine.rejected()
        #expect(script.receive(.body(Self.chunk)) == .nothing)
        #expect(script.receive(.end) == .nothing)
        #expect(script.receive(.head(Self.get)) == .nothing, "nothing follows a request that was not read whole")
    }

    @Test func rejectedRequestWithSmallBodyKeepsConnection() {
        var script = Script()
        _ = script.receive(.head(Self.get))
        script.machine.discardBody(at: script.now, script.configuration)
        #expect(script.receive(.body(Self.chunk)) == .nothing)
        #expect(script.receive(.end) == .endDiscarded)
        #expect(script.written() == .next)
        _ = script.receive(.head(Self.get))
        script.machine.discardBody(at: script.now, script.configuration)
        #expect(script.tick(after: 10) == .linger(.short), "its body does not arrive")
    }

    @Test func importIsAnsweredWhileItsBodyArrives() {
        var script = Script()
        _ = script.receive(.head(Self.get))
        script.machine.receiveBody(at: script.now, script.configuration)
        #expect(script.receive(.body(Self.chunk)) == .pass(Self.chunk))
        #expect(script.receive(.end) == .endBody)
        #expect(script.machine.dropBody() == false, "the whole body has arrived")
        #expect(!script.machine.responseBegins(isDraining: false) && script.written() == .next)

        _ = script.receive(.head(Self.get))
        script.machine.receiveBody(at: script.now, script.configuration)
        #expect(script.machine.dropBody() == true, "the response is ready before the whole body has arrived")
        #expect(script.receive(.body(Self.chunk)) == .nothing)
        #expect(script.machine.responseBegins(isDraining: false) && script.written() == .linger(.short))
    }

    @Test func drainEndsConnectionWithItsResponse() {
        var script = Script()
        script.request()
        #expect(script.machine.responseBegins(isDraining: true) == true)
        #expect(script.written() == .linger(.short))
        var idle = Script()
        #expect(idle.machine.quiesce(hasReceivedBytes: false, queuedBytes: 0) == .close)
        var unread = Script()
        #expect(unread.machine.quiesce(hasReceivedBytes: false, queuedBytes: 1) == .linger(.whileReading))
        var begun = Script()
        #expect(begun.machine.quiesce(hasReceivedBytes: true, queuedBytes: 0) == .nothing)
        begun.request()
        #expect(begun.machine.responseBegins(isDraining: false) && begun.written() == .linger(.short))
    }

    // MARK: What waits behind a request

    @Test func partsBehindRequestWaitForItsResponse() {
        var script = Script()
        script.request()
        #expect(script.receive(.head(Self.get)) == .queued && script.receive(.end) == .queued)
        #expect(script.machine.pendingParts == 2 && script.machine.pipelinedBytes > 0)
        #expect(script.machine.takePipelined() == nil, "the response is not written yet")
        script.isWritable = false
        script.queuedBytes = 5
        #expect(script.written() == .wait)
        #expect(script.machine.pendingParts == 0, "they wait for the client")
        #expect(!script.mayRead() && script.machine.takePausedRead() && !script.machine.takePausedRead())
        #expect(script.machine.becameWritable(at: script.now, script.configuration) == .next)
        #expect(script.machine.takePipelined() == .head(Self.get) && script.machine.takePipelined() == .end)
        #expect(script.machine.takePipelined() == nil && script.machine.pipelinedBytes == 0)
    }

    @Test func readingPausesWhileMuchWaits() {
        var script = Script { $0.maximumPipelinedBytes = 1_500 }
        script.request()
        #expect(script.mayRead() == true)
        _ = script.receive(.body(Self.chunk))
        #expect(script.mayRead() && !script.mayRead(hasRoom: false))
        _ = script.receive(.body(Self.chunk))
        #expect(script.mayRead() == false)
        var verifying = Script()
        _ = verifying.receive(.head(Self.get))
        verifying.machine.verifying()
        #expect(verifying.mayRead() == false, "the client may be anybody")
        #expect(verifying.machine.verified() && !verifying.machine.verified())
    }

    @Test func waitingPartsAreDroppedOverTheLimitOfAll() {
        var script = Script { $0.maximumPipelinedBytes = 16_000 }
        script.request()
        _ = script.receive(.end)
        #expect(script.machine.pipelinesFull(script.configuration) == nil, "little is kept")
        _ = script.receive(.body(Self.chunk))
        #expect(script.machine.pipelinesFull(script.configuration) == .nothing)
        #expect(script.machine.pipelinedBytes == 0 && script.receive(.body(Self.chunk)) == .nothing)
        #expect(script.written() == .linger(.short), "the client sends again what was not answered")
        var verifying = Script { $0.maximumPipelinedBytes = 16_000 }
        _ = verifying.receive(.head(Self.get))
        verifying.machine.verifying()
        _ = verifying.receive(.body(Self.chunk))
        _ = verifying.receive(.body(Self.chunk))
        #expect(verifying.machine.pipelinesFull(verifying.configuration) == .reject(.pipelinesFull))
    }

    @Test func halfClosedClientIsSentWhatItHasRequested() {
        var idle = Script()
        #expect(idle.machine.inputEnded() == .close)
        var script = Script()
        script.request()
        _ = script.receive(.head(Self.get))
        _ = script.receive(.end)
        #expect(script.machine.inputEnded() == .nothing)
        #expect(script.written() == .next, "another request waits")
        _ = script.machine.takePipelined()
        script.machine.readBody(at: script.now, script.configuration)
        #expect(script.machine.takePipelined() == .end && script.receive(.end) == .respond)
        script.machine.responding()
        #expect(script.written() == .linger(.short))
    }

    @Test func brokenInputEndsConnectionAfterResponse() {
        var idle = Script()
        #expect(idle.machine.inputBroken() == .reject(.malformed))
        var responding = Script()
        responding.request()
        #expect(responding.machine.inputBroken() == .nothing && responding.receive(.head(Self.get)) == .nothing)
        #expect(responding.written() == .linger(.short))
        var verifying = Script()
        _ = verifying.receive(.head(Self.get))
        verifying.machine.verifying()
        _ = verifying.receive(.end)
        #expect(verifying.machine.inputBroken() == .nothing, "the request itself is complete")
        #expect(verifying.machine.verified() && verifying.machine.responseBegins(isDraining: false))
        var receiving = Script()
        _ = receiving.receive(.head(Self.get))
        receiving.machine.receiveBody(at: receiving.now, receiving.configuration)
        #expect(receiving.machine.inputBroken() == .failBody(.malformed))
        var streaming = Script()
        streaming.stream()
        #expect(streaming.machine.inputBroken() == .close)
    }

    // MARK: Streams

    @Test func connectionIsUsedAgainAfterStream() {
        var script = Script()
        script.stream()
        #expect(script.machine.carriesChunks)
        #expect(script.tick(after: 1_000_000) == .nothing, "a stream has no timeout")
        #expect(script.streamEnded() == .next)
        script.request()
        #expect(script.written() == .next)
        script.stream()
        script.isWritable = false
        script.queuedBytes = 9
        #expect(script.streamEnded() == .wait, "the client has not read the last events")
        #expect(script.tick(after: 60) == .close)
    }

    @Test func streamThatEndsWithTheConnectionIsNotChunked() {
        for head in [Self.last, Self.old] {
            var script = Script()
            script.stream(head)
            #expect(!script.machine.carriesChunks)
            #expect(script.streamEnded(keeps: false) == .linger(.short))
        }
        var full = Script()
        full.stream()
        #expect(full.streamEnded(keeps: false) == .linger(.short), "there is no room for the connection")
    }

    @Test func whatArrivesBehindStreamIsNeverProcessed() {
        // Together with the request, while the stream is opened, as parts before the decoder is gone, and as bytes.
        for place in 0..<4 {
            var script = Script()
            _ = script.receive(.head(Self.get))
            script.machine.admitting()
            #expect(script.receive(.end) == .nothing)
            if place == 0 { #expect(script.receive(.head(Self.get)) == .queued) }
            script.machine.opening()
            if place == 1 { #expect(script.receive(.head(Self.get)) == .queued) }
            #expect(script.machine.takePipelined() == nil)
            script.machine.streaming()
            #expect(script.machine.pipelinedBytes == 0)
            if place == 2 { #expect(script.receive(.head(Self.get)) == .nothing) }
            if place == 3 { script.machine.receivedBehindStream() }
            #expect(script.streamEnded() == .linger(.short), "\(place)")
        }
        var unfinished = Script()
        unfinished.stream(hasEnd: false)
        #expect(unfinished.streamEnded() == .linger(.short), "the rest of the request may still arrive")
        var late = Script()
        late.stream(hasEnd: false)
        #expect(late.receive(.body(Self.chunk)) == .nothing && late.receive(.end) == .nothing)
        #expect(late.streamEnded() == .next, "it has arrived")
    }

    @Test func declinedStreamIsAnOrdinaryResponse() {
        var script = Script()
        _ = script.receive(.head(Self.get))
        script.machine.admitting()
        #expect(script.receive(.end) == .nothing && script.receive(.head(Self.get)) == .queued)
        #expect(script.machine.streamDeclined() == true)
        #expect(!script.machine.responseBegins(isDraining: false) && script.written() == .next)
        #expect(script.machine.takePipelined() == .head(Self.get))
        script.stream()
        #expect(script.machine.streamDeclined() == false, "it has begun")
        #expect(script.machine.inputEnded() == .close)
        var opening = Script()
        _ = opening.receive(.head(Self.get))
        opening.machine.admitting()
        opening.machine.opening()
        #expect(opening.machine.inputEnded() == .close, "nobody reads the stream")
    }

    // MARK: Time

    @Test func phasesHaveTheirTimeouts() {
        var silent = Script()
        #expect(silent.tick(after: 9) == .nothing && silent.tick(after: 1) == .close)
        var slow = Script()
        slow.hasReceivedBytes = true
        #expect(slow.tick(after: 10) == .reject(.tooSlow))
        var idle = Script()
        idle.request()
        #expect(idle.tick(after: 1_000) == .nothing, "the hub is at work")
        #expect(idle.written() == .next && idle.tick(after: 74) == .nothing && idle.tick(after: 1) == .close)
        var body = Script()
        _ = body.receive(.head(Self.get))
        body.machine.readBody(at: body.now, body.configuration)
        #expect(body.tick(after: 29) == .nothing)
        _ = body.receive(.body(Self.chunk))
        #expect(body.tick(after: 1) == .reject(.tooSlow), "the timeout is that of the whole body")
        var upload = Script()
        _ = upload.receive(.head(Self.get))
        upload.machine.receiveBody(at: upload.now, upload.configuration)
        #expect(upload.tick(after: 29) == .nothing)
        _ = upload.receive(.body(Self.chunk))
        upload.isBodyFull = true
        #expect(upload.tick(after: 30) == .nothing, "the client waits for the hub")
        upload.isBodyFull = false
        #expect(upload.tick(after: 29) == .nothing && upload.tick(after: 1) == .failBody(.tooSlow))
    }

    @Test func clientThatReadsSomeBytesHasMoreTime() {
        var script = Script()
        script.request()
        script.isWritable = false
        script.queuedBytes = 100
        #expect(script.written() == .wait)
        script.queuedBytes = 99
        #expect(script.tick(after: 60) == .nothing && script.tick(after: 59) == .nothing)
        #expect(script.tick(after: 1) == .close)
        var writing = Script()
        writing.request()
        writing.isWriterWaiting = true
        writing.queuedBytes = 100
        writing.machine.writeWaits(queuedBytes: 100, at: writing.now, writing.configuration)
        #expect(writing.tick(after: 59) == .nothing && writing.tick(after: 1) == .close)
    }

    @Test func lingeringEndsSoonAfterTheLastByte() {
        var script = Script()
        script.request(Self.last)
        script.linger(script.written())
        #expect(script.tick(after: 2) == .nothing && script.tick(after: 1) == .close)
        var reading = Script()
        reading.request(Self.last)
        reading.queuedBytes = 100
        reading.linger(reading.written())
        reading.queuedBytes = 50
        #expect(reading.tick(after: 60) == .nothing)
        reading.queuedBytes = 0
        #expect(reading.machine.becameWritable(at: reading.now, reading.configuration) == .nothing)
        #expect(reading.tick(after: 2) == .nothing && reading.tick(after: 1) == .close)
    }
}
