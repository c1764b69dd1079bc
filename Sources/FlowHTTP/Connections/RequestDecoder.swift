import NIOCore
import NIOHTTP1

/// Whether a connection's pipeline has NIO's decoder of requests. A stream does without it: it uses a third of a connection's
/// memory.
enum RequestDecoder {
    typealias Handler = ByteToMessageHandler<HTTPRequestDecoder>

    case present(Handler)
    /// It leaves the pipeline in this turn of the event loop, in which nothing is read. What it passes on until then says only
    /// that bytes were received behind the stream's request. `isNeeded`: a new one must replace it.
    case leaving(isNeeded: Bool)
    case absent

    var isPresent: Bool {
        if case .present = self { true } else { false }
    }
    var isLeaving: Bool {
        if case .leaving = self { true } else { false }
    }

    /// Creates a decoder.
    static func make(_ configuration: HTTPConfiguration) -> Handler {
        var limits = NIOHTTPDecoderLimitConfiguration()
        // The decoder counts the request target as well. ``ConnectionHandler`` checks the header fields alone.
        limits.maxHeaderListSize = configuration.maximumHeaderBytes + configuration.maximumURIBytes
        limits.maxHeaderFieldSize = max(configuration.maximumHeaderBytes, configuration.maximumURIBytes)
        return ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits))
    }
}

extension ConnectionHandler {
    /// Removes the decoder, if the connection still carries a stream.
    func removeDecoder() {
        guard self.machine.phase == .streaming, case .present(let handler) = self.decoder,
            let pipeline = self.context?.pipeline.syncOperations
        else { return }
        self.decoder = .leaving(isNeeded: false)
        // It may have read the beginning of a further request, which leaves with it. At the end of its input it reports that as
        // an error, which means nothing else now.
        if let context = try? pipeline.context(handler: handler) {
            handler.userInboundEventTriggered(context: context, event: ChannelEvent.inputClosed)
        }
        let promise = self.loop.loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in self.decoderLeft() }
        pipeline.removeHandler(handler, promise: promise)
    }

    private func decoderLeft() {
        guard case .leaving(let isNeeded) = self.decoder else { return }
        self.decoder = .absent
        if isNeeded { self.restoreDecoder() }
    }

    /// Adds a new decoder after a stream has removed the last one.
    func restoreDecoder() {
        switch self.decoder {
        case .present: break
        case .leaving: self.decoder = .leaving(isNeeded: true)
        case .absent:
            guard let pipeline = self.context?.pipeline.syncOperations else { return }
            let handler = RequestDecoder.make(self.loop.configuration)
            do {
                try pipeline.addHandler(handler, position: .after(self.headLimiter))
                self.decoder = .present(handler)
            } catch {
                // The connection is being closed.
                self.closeNow()
            }
        }
    }
}
