import FlowCore
import Logging
import NIOCore

extension HubServer {
    /// Maximum time between the signal and the closing of idle connections, so that proxies have stopped using them.
    private static let longestNotice = Duration.seconds(1)
    /// Time for the requests of connections that were accepted last to arrive.
    private static let acceptSettling = Duration.milliseconds(50)
    /// Time limit in seconds for the cleanup of imports that are still in progress at the end of a drain.
    private static let importCleanupSeconds = 5

    /// Ends the service without losing requests, also those that come through a proxy:
    ///
    /// 1. `/health/ready` reports "draining", every response closes its connection, and requests for streams get none, so that
    ///    proxies choose other instances. Streams are closed, spread over the drain window. Ordinary requests are answered.
    /// 2. The port is closed. Proxies send requests that it refuses to other instances.
    /// 3. Requests in progress are answered, and the remaining connections are closed.
    func drain(
        _ listener: any Channel, _ operationsListener: (any Channel)?, _ loops: EventLoopContextSet, _ services: StreamServices
    ) async {
        services.startDraining()
        self.dependencies.bus.startDraining()
        let start = ContinuousClock.now
        let seconds = self.http.drainSeconds
        self.logger.notice(
            "Draining streams",
            metadata: ["streams": .stringConvertible(services.streamCount), "seconds": .stringConvertible(seconds)])
        loops.forEachLoop {
            $0.startDraining()
            $0.shard.drain(over: .seconds(Int64(seconds)))
        }
        let deadline = start + .seconds(seconds + 2)
        while services.streamCount > 0, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
        // Without streams the drain window has no use. But if connections are idle, a proxy may be about to use them.
        let notice = start + min(.seconds(seconds), Self.longestNotice)
        while ContinuousClock.now < notice, await loops.idleCount() > 0 {
            try? await Task.sleep(for: .milliseconds(20))
        }
        await self.stopListening(listener, settling: seconds > 0 ? Self.acceptSettling : .zero)
        loops.forEachLoop { $0.quiesce() }
        // Requests in progress are still answered: an import or a download may use the rest of the drain window, and at
        // least 2 s.
        let end = max(deadline, ContinuousClock.now + .seconds(2))
        while await loops.busyCount() > 0, ContinuousClock.now < end {
            try? await Task.sleep(for: .milliseconds(20))
        }
        await self.dependencies.bus.finish()
        try? await operationsListener?.close()
        // The remaining connections are closed. An interrupted import cleans up while the event loops and the store still run.
        loops.forEachLoop { $0.closeNow() }
        await self.dependencies.imports.close(within: Self.importCleanupSeconds)
    }

    /// Closes the port so that no accepted connection is lost: the kernel would reset those that wait to be accepted. First the
    /// kernel ignores new connections (their clients try again after 1 s, and are refused), then those that wait are accepted,
    /// then the port is closed.
    private func stopListening(_ listener: any Channel, settling: Duration) async {
        if settling > .zero, await NewConnectionFilter.install(on: listener) { try? await Task.sleep(for: settling) }
        try? await listener.close()
        if settling > .zero { try? await Task.sleep(for: settling) }
    }
}

/// A port that the server could not open.
public struct ListenFailure: Error, CustomStringConvertible {
    public var host: String
    public var port: Int
    public var reason: String

    public var description: String { "cannot listen on \(self.host):\(self.port): \(self.reason)" }
}
