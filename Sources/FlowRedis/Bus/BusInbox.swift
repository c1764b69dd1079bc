import FlowCore
import NIOCore

/// Passes received messages to the sink, those of one turn of the event loop together. Pauses reading from the subscriber
/// connection while the sink has too many unprocessed ones. Confined to one event loop.
final class BusInbox {
    /// Maximum number of messages that the sink has received and not processed yet. Above it, reading from the
    /// subscriber connection pauses; at half of it, reading resumes.
    private static let maximumBacklog = 10_000
    /// Time between two checks of the sink's unprocessed messages while reading is paused.
    private static let pauseLength = TimeAmount.milliseconds(2)

    /// The receiver of the messages of all flows; `nil` before the bus is attached and after it has stopped.
    var sink: (any BusSink)?
    /// Whether reading from the subscriber connection is paused.
    private(set) var isPaused = false

    private let subscriber: RedisLink
    private let canary: CanaryPublisher
    private let loop: any EventLoop
    /// Messages received in this turn of the event loop.
    private var messages: [BusMessage] = []

    /// - Parameter canary: told when reading resumes, since none could arrive meanwhile.
    init(subscriber: RedisLink, canary: CanaryPublisher, loop: any EventLoop) {
        self.subscriber = subscriber
        self.canary = canary
        self.loop = loop
    }

    /// Called when a new subscriber connection is ready: it is being read.
    func connected() { self.isPaused = false }

    /// Adds a message to those of this turn.
    func add(_ message: BusMessage) {
        self.messages.append(message)
        guard self.messages.count == 1 else { return }
        self.loop.assumeIsolated().execute {
            let messages = self.messages
            self.messages = []
            self.sink?.received(messages)
            if !self.isPaused, let backlog = self.sink?.backlog, backlog > Self.maximumBacklog { self.pause() }
        }
    }

    /// Pauses reading. New messages then queue at Redis, which closes the connection if they exceed its output buffer limit.
    private func pause() {
        self.isPaused = true
        self.subscriber.setReading(false)
        self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
    }

    /// Resumes reading if the sink has at most half of ``maximumBacklog`` unprocessed messages; otherwise checks again
    /// after 2 ms.
    private func checkBacklog() {
        guard self.isPaused else { return }
        if let backlog = self.sink?.backlog, backlog > Self.maximumBacklog / 2 {
            self.loop.assumeIsolated().scheduleTask(in: Self.pauseLength) { self.checkBacklog() }
        } else {
            self.isPaused = false
            self.canary.readingResumed()
            self.subscriber.setReading(true)
        }
    }
}
