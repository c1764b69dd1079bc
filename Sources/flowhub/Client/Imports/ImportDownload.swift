import AsyncHTTPClient
import Crypto
import FlowCore
import Foundation
import NIOCore
import NIOHTTP1

/// Downloads all records of an import, or its object, and verifies the number of records and the hash.
struct ImportDownload {
    /// What to download, and in which form to write it.
    enum Form: Hashable {
        /// The document: one JSON array with one record per line.
        case document
        /// One record per line, without the array.
        case ndjson
        /// The stored object, compressed with gzip.
        case compressed
    }

    /// The result of a download.
    struct Report: Hashable {
        /// Number of records; `nil` if they were not counted, because they are compressed or need not be one per line.
        var records: Int?
        /// Number of bytes written.
        var bytes: Int
        /// Whether the hash was compared; `false` if the import has none.
        var isVerified: Bool
    }

    let client: HubClient
    let id: ImportID
    let form: Form
    let target: DownloadTarget
    let style: ProgressRenderer.Style

    /// Downloads and verifies the import. A failed attempt is repeated if the target can start over.
    /// - Throws: ``CommandFailure``, after all attempts. The caller must discard the target.
    func run() async throws -> Report {
        let metadata = try await self.client.json("/v1/imports/\(self.id)")
        var storage = metadata.member("storage_metadata").flatMap { StorageMetadata($0) }
        // The hub decrypts an encrypted object, so the bytes are not those of data_hash.
        if metadata.member("encryption_key") != nil { storage?.dataHash = nil }
        let total = self.form == .compressed ? storage?.sizeBytes : storage?.originalSizeBytes
        let bar = ProgressBar(label: "Fetching", total: total, unit: .bytes, style: self.style)
        defer { bar.clear() }
        var backoff = RetryBackoff()
        while true {
            do {
                let report = try await self.once(storage, bar)
                bar.finish()
                return report
            } catch let interruption as Interruption {
                guard self.target.isRestartable, let wait = backoff.next(afterSeconds: interruption.afterSeconds) else {
                    throw interruption.failure
                }
                try self.target.restart()
                bar.note("flowhub: \(interruption.what); retrying from the start")
                bar.update(0)
                try await Task.sleep(for: wait)
            }
        }
    }

    /// A failed attempt that may be repeated.
    private struct Interruption: Error {
        /// The failure to report if no attempt follows.
        let failure: CommandFailure
        /// The cause, for a message.
        let what: String
        /// The response's `Retry-After`; `nil` without one.
        let afterSeconds: Int?
    }

    /// Makes one attempt. `storage`: the number of records and the hashes that the hub sent; `nil` if it sent none.
    /// - Throws: `Interruption` if a retry may help.
    private func once(_ storage: StorageMetadata?, _ bar: ProgressBar) async throws -> Report {
        let response = try await self.openResponse()
        var check = Check(form: self.form, storage: storage)
        var (received, written) = (0, 0)
        do {
            for try await chunk in response.body {
                let bytes = try check.process(chunk)
                try self.target.write(bytes)
                received += chunk.readableBytes
                written += bytes.count
                bar.update(received)
            }
        } catch let error where Self.isOfTransport(error) {
            let what = "the connection was lost after \(HumanReadable.bytes(received))"
            throw Interruption(
                failure: CommandFailure(.unreachable, "The hub's response is incomplete: \(what)."), what: what, afterSeconds: nil
            )
        }
        let (records, isVerified) = try check.finish()
        return Report(records: records, bytes: written, isVerified: isVerified)
    }

    /// Requests the records or the object.
    /// - Returns: a 200 response whose encoding matches ``form``.
    /// - Throws: `Interruption` if a retry may help; ``CommandFailure`` if not.
    private func openResponse() async throws -> HTTPClientResponse {
        var headers: HTTPHeaders = ["Accept": "application/json, application/problem+json"]
        if self.form == .compressed { headers.add(name: "Accept-Encoding", value: "gzip") }
        let response: HTTPClientResponse
        do {
            response = try await self.client.stream(.get, "/v1/imports/\(self.id)/data", headers: headers)
        } catch let error where Self.isOfTransport(error) {
            let what = "the connection failed (\(HubClient.describe(error)))"
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
        let isCompressed = response.headers.first(name: "Content-Encoding")?.lowercased() == "gzip"
        guard isCompressed == (self.form == .compressed) else {
            throw CommandFailure(
                .rejected,
                isCompressed
                    ? "The response is compressed, which was not requested. Check for a proxy that compresses responses."
                    : "This import is stored as database rows, not as an object. Omit --raw.")
        }
        return response
    }

    /// Whether the error shows that the connection to the hub failed, so that a retry may help: any error except this
    /// command's own ones and a cancellation.
    private static func isOfTransport(_ error: any Error) -> Bool {
        !(error is CommandFailure || error is OutputClosed || error is CancellationError || error is Interruption)
    }
}

extension ImportDownload {
    /// Hashes and counts the records of a response, and converts them to the requested form.
    private struct Check {
        private let form: Form
        private let storage: StorageMetadata?
        private var hash = SHA256()
        /// The parser that counts and extracts the records; `nil`: the response is hashed as it is.
        private var lines: RecordLines?

        init(form: Form, storage: StorageMetadata?) {
            self.form = form
            self.storage = storage
            // An import of a legacy service has no content hash, and its document need not have one record per line.
            let hasLines = form == .ndjson || (form == .document && storage?.contentHash.isEmpty == false)
            self.lines = hasLines ? RecordLines() : nil
        }

        /// Hashes a chunk of the response.
        /// - Returns: the bytes to write, in the requested form.
        /// - Throws: ``CommandFailure`` if the chunk does not have one record per line.
        mutating func process(_ chunk: ByteBuffer) throws(CommandFailure) -> [UInt8] {
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

        /// Compares number of records and hash with those of the import.
        /// - Returns: the number of records, `nil` if not counted; whether the hash was compared, `false` if the import has
        ///   none.
        /// - Throws: ``CommandFailure`` if they differ.
        mutating func finish() throws(CommandFailure) -> (records: Int?, isVerified: Bool) {
            do throws(RecordLines.Malformed) { try self.lines?.finish() } catch { throw self.malformed(error) }
            let found = self.hash.finalize().map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            let records = self.lines?.records
            let hash = self.form == .compressed ? self.storage?.dataHash ?? "" : self.storage?.contentHash ?? ""
            guard let storage = self.storage, !hash.isEmpty else { return (records, false) }
            if let records, records != storage.recordCount {
                throw Self.differs("\(records) records received, expected \(storage.recordCount)")
            }
            guard found == hash.lowercased() else {
                let of = self.form == .compressed ? "data_hash" : "content_hash"
                throw Self.differs("its hash is \(found), but the import's \(of) is \(Terminal.sanitized(hash))")
            }
            return (records, true)
        }

        /// The failure for a response that does not have one record per line.
        private func malformed(_ error: RecordLines.Malformed) -> CommandFailure {
            guard self.storage?.contentHash.isEmpty == false else {
                return CommandFailure(
                    .rejected,
                    "Line \(error.line) is not one record: a legacy service stored this import. "
                        + "Omit --ndjson, and convert the output with jq -c '.[]'."
                )
            }
            return Self.differs("line \(error.line) is not one record of an array")
        }

        /// The failure for a download that differs from the import. `what`: the difference.
        private static func differs(_ what: String) -> CommandFailure {
            CommandFailure(
                .rejected,
                "The download does NOT match the import: \(what). Do not use it. "
                    + "Retry; if this persists, the import is damaged.")
        }
    }
}
