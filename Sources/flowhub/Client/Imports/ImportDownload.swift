import AsyncHTTPClient
import Crypto
import FlowCore
import Foundation
import NIOCore
import NIOHTTP1

/// Fetches all records of an import, and looks whether they are those that were handed in.
struct ImportDownload {
    enum Form: Hashable {
        /// The document: one array.
        case document
        case ndjson
        /// The stored object, packed.
        case packed
    }

    /// What came.
    struct Report: Hashable {
        /// `nil` where they were not counted: they were packed, or not laid out in lines.
        var records: Int?
        /// As written.
        var bytes: Int
        /// `false`: the import has no hash to compare with.
        var isVerified: Bool
    }

    let client: HubClient
    let id: ImportID
    let form: Form
    let target: DownloadTarget
    let style: ProgressRenderer.Style

    /// - Throws: ``CommandFailure``, after all attempts; the target is the caller's to discard.
    func run() async throws -> Report {
        let metadata = try await self.client.json("/v1/imports/\(self.id)")
        let storage = metadata.member("storage_metadata").flatMap { StorageMetadata($0) }
        let total = self.form == .packed ? storage?.sizeBytes : storage?.originalSizeBytes
        let bar = ProgressBar(label: "Fetching", total: total, unit: .bytes, style: self.style)
        defer { bar.clear() }
        var pace = RetryBackoff()
        while true {
            do {
                let report = try await self.once(storage, bar)
                bar.finish()
                return report
            } catch let interruption as Interruption {
                guard self.target.isRepeatable, let wait = pace.next(afterSeconds: interruption.afterSeconds) else {
                    throw interruption.failure
                }
                try self.target.restart()
                bar.say("flowhub: \(interruption.what), beginning again")
                bar.update(0)
                try await Task.sleep(for: wait)
            }
        }
    }

    /// An attempt that may be made again.
    private struct Interruption: Error {
        let failure: CommandFailure
        let what: String
        let afterSeconds: Int?
    }

    private func once(_ storage: StorageMetadata?, _ bar: ProgressBar) async throws -> Report {
        let response = try await self.begin()
        var check = Check(form: self.form, storage: storage)
        var (received, written) = (0, 0)
        do {
            for try await chunk in response.body {
                let bytes = try check.take(chunk)
                try self.target.write(bytes)
                received += chunk.readableBytes
                written += bytes.count
                bar.update(received)
            }
        } catch let error where Self.isOfTransport(error) {
            let what = "the connection broke after \(HumanReadable.bytes(received))"
            throw Interruption(
                failure: CommandFailure(.unreachable, "The hub's answer ended too early: \(what)."), what: what, afterSeconds: nil
            )
        }
        let (records, isVerified) = try check.finish()
        return Report(records: records, bytes: written, isVerified: isVerified)
    }

    /// - Returns: an answer of 200, with the body that is wanted.
    private func begin() async throws -> HTTPClientResponse {
        var headers = [(name: "Accept", value: "application/json, application/problem+json")]
        if self.form == .packed { headers.append(("Accept-Encoding", "gzip")) }
        let response: HTTPClientResponse
        do {
            response = try await self.client.stream(.get, "/v1/imports/\(self.id)/data", headers: headers)
        } catch let error where Self.isOfTransport(error) {
            let what = "the connection broke (\(HubClient.words(error)))"
            throw Interruption(failure: self.client.unreachable(error), what: what, afterSeconds: nil)
        }
        let status = Int(response.status.code)
        guard status == 200 else {
            let body = try? await response.body.collect(upTo: 1_048_576)
            let failure = HubProblem(status: status, body: body.map { Array($0.readableBytesView) } ?? []).failure
            guard status == 429 || status >= 500 else { throw failure }
            let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) }
            throw Interruption(failure: failure, what: "the hub answered \(status)", afterSeconds: seconds)
        }
        let isPacked = response.headers.first(name: "Content-Encoding")?.lowercased() == "gzip"
        guard isPacked == (self.form == .packed) else {
            throw CommandFailure(
                .refused,
                isPacked
                    ? "The answer is packed, which was not asked for. Is there a proxy between that packs?"
                    : "The records of this import are not packed: they are rows of the database. Leave out --raw.")
        }
        return response
    }

    private static func isOfTransport(_ error: any Error) -> Bool {
        !(error is CommandFailure || error is OutputClosed || error is CancellationError || error is Interruption)
    }
}

extension ImportDownload {
    /// Hashes what goes by, and brings it into the form that is wanted.
    private struct Check {
        private let form: Form
        private let storage: StorageMetadata?
        private var hash = SHA256()
        private var lines: RecordLines?

        init(form: Form, storage: StorageMetadata?) {
            self.form = form
            self.storage = storage
            // What an older service stored has no content hash, and any layout.
            let hasLines = form == .ndjson || (form == .document && storage?.contentHash.isEmpty == false)
            self.lines = hasLines ? RecordLines() : nil
        }

        /// - Returns: what to write.
        mutating func take(_ chunk: ByteBuffer) throws(CommandFailure) -> [UInt8] {
            guard self.lines != nil else {
                let bytes = Array(chunk.readableBytesView)
                self.hash.update(data: bytes)
                return bytes
            }
            var records: [UInt8] = []
            records.reserveCapacity(chunk.readableBytes)
            do throws(RecordLines.Malformed) {
                try chunk.readableBytesView.withUnsafeBytes { (bytes) throws(RecordLines.Malformed) in
                    try self.lines?.feed(bytes, into: &records)
                }
            } catch {
                throw self.malformed(error)
            }
            self.hash.update(data: records)
            return self.form == .ndjson ? records : Array(chunk.readableBytesView)
        }

        mutating func finish() throws(CommandFailure) -> (records: Int?, isVerified: Bool) {
            do throws(RecordLines.Malformed) { try self.lines?.finish() } catch { throw self.malformed(error) }
            let found = self.hash.finalize().map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            let records = self.lines?.records
            let hash = self.form == .packed ? self.storage?.dataHash ?? "" : self.storage?.contentHash ?? ""
            guard let storage = self.storage, !hash.isEmpty else { return (records, false) }
            if let records, records != storage.recordCount {
                throw Self.differs("\(records) records came, and the import has \(storage.recordCount)")
            }
            guard found == hash.lowercased() else {
                let of = self.form == .packed ? "data_hash" : "content_hash"
                throw Self.differs("the hash of what came is \(found), and the import's \(of) is \(Terminal.harmless(hash))")
            }
            return (records, true)
        }

        private func malformed(_ error: RecordLines.Malformed) -> CommandFailure {
            guard self.storage?.contentHash.isEmpty == false else {
                return CommandFailure(
                    .refused,
                    "Line \(error.line) is not one record: an older service laid this import out. Leave out --ndjson, and use jq -c '.[]'."
                )
            }
            return Self.differs("line \(error.line) is not one record of an array")
        }

        private static func differs(_ what: String) -> CommandFailure {
            CommandFailure(
                .refused,
                "What came is NOT what was handed in: \(what). Do not use it. Fetch it again; if it stays so, it is damaged.")
        }
    }
}
