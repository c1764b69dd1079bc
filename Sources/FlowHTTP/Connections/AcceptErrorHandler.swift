import Logging
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Handles errors of accepting connections, above all that the process has no free file descriptor. NIO would try again at once,
/// and forever, because the connection still waits. This handler stops accepting for a moment, and lets each event loop close the
/// connection that was idle for the longest time.
final class AcceptErrorHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// Time without attempts after a failed one.
    private static let pause = TimeAmount.milliseconds(100)
    /// Minimum time between two log lines.
    private static let logInterval = TimeAmount.seconds(10)

    private let loops: EventLoopContextSet
    private let budgets: ConnectionBudgets
    private let logger: Logger
    private var nextLog = NIODeadline.uptimeNanoseconds(0)

    init(loops: EventLoopContextSet, budgets: ConnectionBudgets, logger: Logger) {
        self.loops = loops
        self.budgets = budgets
        self.logger = logger
    }

    /// Pauses accepting after an error that passes when the process or the machine has more descriptors or memory.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let failure = error as? IOError, [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(failure.errnoCode) else {
            context.fireErrorCaught(error)
            return
        }
        self.budgets.countFailedAccept()
        self.loops.forEachLoop { _ = $0.evictLongestIdle() }
        // Without automatic reads NIO stops to poll the listening socket.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        let channel = context.channel
        context.eventLoop.scheduleTask(in: Self.pause) {
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
        let now = NIODeadline.now()
        guard now >= self.nextLog else { return }
        self.nextLog = now + Self.logInterval
        self.logger.error(
            "Cannot accept connections; closing idle ones. Raise the limit of open files (ulimit -n, LimitNOFILE=)",
            metadata: ["error": "\(failure)", "failures": "\(self.budgets.failedAccepts)"])
    }
}
