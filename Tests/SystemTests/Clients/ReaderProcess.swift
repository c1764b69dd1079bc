import FlowTestKit
import Foundation
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// A client that is a program of `readers`. See its `__init__.py` for the programs' input and output.
final class ReaderProcess: StreamReader {
    private struct Line: Decodable {
        let reading: String
        let type: String?
        let id: String?
        let data: String?
        let at: Double?
        let failure: String?
    }

    private let process: ChildProcess
    private let folder: TemporaryFolder
    private let channel: any Channel
    private let readings: AsyncValue<[String: Reading]>

    init(_ command: [String]) async throws {
        let folder = try TemporaryFolder()
        let (input, output) = (folder.path + "/input", folder.path + "/output")
        guard mkfifo(input, 0o600) == 0, mkfifo(output, 0o600) == 0 else { throw Reading.Failure(description: "mkfifo failed") }
        // Opened for reading and writing, so that opening does not wait for the other end.
        let (inward, outward) = (open(output, O_RDWR | O_CLOEXEC), open(input, O_RDWR | O_CLOEXEC))
        let readings = AsyncValue<[String: Reading]>([:])
        self.channel = try await NIOPipeBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LineReader { Self.receive($0, readings) })
                }
            }
            .takingOwnershipOfDescriptors(input: inward, output: outward).get()
        let environment = [
            "PYTHONPATH": Repository.path("Tests/SystemTests/Clients"), "PYTHONDONTWRITEBYTECODE": "1",
            "FLOWHUB_BINARY": try HubBinary.path(),
        ]
        self.process = try ChildProcess(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" <'\(input)' >'\(output)'"] + command, environment: environment,
            folder: folder.path)
        self.folder = folder
        self.readings = readings
    }

    var errors: String { self.process.errorOutput }

    func read(_ name: String, _ url: String) async throws -> Reading {
        let reading = Reading()
        self.readings.change { $0[name] = reading }
        try await self.channel.writeAndFlush(ByteBuffer(string: "\(name) \(url)\n")).get()
        return reading
    }

    func end() async {
        for child in Processes.children(of: self.process.id) { kill(child, SIGKILL) }
        await self.process.destroy()
        try? await self.channel.close().get()
        self.folder.remove()
    }

    private static func receive(_ line: Data, _ readings: AsyncValue<[String: Reading]>) {
        guard let line = try? JSONDecoder().decode(Line.self, from: line),
            let reading = readings.read({ $0[line.reading] })
        else { return }
        if let type = line.type, let data = line.data, let at = line.at {
            reading.append(ReaderEvent(type: type, id: line.id, data: data, at: at))
        } else {
            reading.fail(line.failure ?? "")
        }
    }
}

private final class LineReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let received: @Sendable (Data) -> Void
    private var rest = ByteBuffer()
    /// Number of bytes of `rest` without a line end.
    private var searched = 0

    init(received: @escaping @Sendable (Data) -> Void) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.rest.writeBuffer(&bytes)
        while let length = self.lengthOfLine() {
            if let line = self.rest.readBytes(length: length) { self.received(Data(line)) }
            self.rest.moveReaderIndex(forwardBy: 1)
            self.searched = 0
        }
        self.searched = self.rest.readableBytes
        self.rest.discardReadBytes()
    }

    /// Number of bytes before the first LF. By memchr: a debug build takes seconds to compare a state of 900 KB byte by byte.
    private func lengthOfLine() -> Int? {
        self.rest.withUnsafeReadableBytes { bytes in
            guard let start = bytes.baseAddress,
                let end = memchr(start + self.searched, 0x0a, bytes.count - self.searched)
            else { return nil }
            return UnsafeRawPointer(end) - start
        }
    }
}
