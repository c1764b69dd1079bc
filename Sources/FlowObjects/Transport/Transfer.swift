import CCurl

#if canImport(Glibc)
import Glibc
#endif

/// A request that libcurl is executing: the easy handle for one ``Exchange``, and the state of the handle's callbacks.
/// Confined to the transport's thread.
final class Transfer {
    let exchange: Exchange
    /// libcurl's easy handle.
    let easy: UnsafeMutableRawPointer
    /// Maximum bytes of the response head.
    private let headBytes: Int
    /// Header fields of the request, as a list of libcurl.
    private var fields: UnsafeMutablePointer<curl_slist>?
    /// Number of bytes of the request body that libcurl has read; set back when libcurl rewinds the body.
    private var sent = 0

    /// Status of the response head received last; 0 before the first.
    private var status = 0
    /// Header fields of the response head received so far.
    private var headers: [NamedValue] = []
    /// Bytes of the response head received so far.
    private var headSize = 0
    /// Whether the response head is complete.
    private var hasHead = false
    /// Whether the response head exceeds its limit.
    private var isOversized = false
    /// Whether bytes of the body were appended to the exchange's buffer after the last ``flush()``.
    private(set) var needsFlush = false

    /// Creates the libcurl handle of an exchange.
    /// - Parameter headBytes: maximum bytes of the response head.
    /// - Returns: `nil` if out of memory.
    init?(_ exchange: Exchange, headBytes: Int) {
        guard let easy = curl_easy_init() else { return nil }
        self.exchange = exchange
        self.easy = easy
        self.headBytes = headBytes
    }

    /// Frees the easy handle, which ``TransportDriver`` must have removed from the multi handle before.
    deinit {
        curl_easy_cleanup(self.easy)
        // Freed after the easy handle, because libcurl may read the list as long as the handle exists.
        curl_slist_free_all(self.fields)
    }

    /// The error for libcurl's result code of this finished transfer; `nil` if the transfer succeeded.
    func outcome(_ code: CURLcode) -> TransportError? {
        self.isOversized ? .malformed : TransportError(code)
    }

    /// If the task that reads the response waits for bytes, passes all received bytes to the task.
    func flush() {
        self.needsFlush = false
        self.exchange.flush()
    }

    // MARK: Setup

    /// Sets the options of the easy handle: request, limits, TLS and callbacks.
    /// - Parameter authorities: path of a file of certificates (PEM) to trust instead of the system's; `nil`: the system's.
    /// - Returns: `false` if out of memory, or if libcurl does not have an option.
    func prepare(_ limits: TransportLimits, authorities: String?) -> Bool {
        let request = self.exchange.request
        let isPlain = request.url.hasPrefix("http://")
        var isFine = self.setFields(request.headers)
        func set(_ option: CURLoption, _ value: Int) {
            isFine = flowhub_curl_set_long(self.easy, option, value) == CURLE_OK && isFine
        }
        func set(_ option: CURLoption, _ value: String?) {
            isFine = flowhub_curl_set_text(self.easy, option, value) == CURLE_OK && isFine
        }
        set(CURLOPT_URL, request.url)
        set(CURLOPT_PROTOCOLS_STR, isPlain ? "http" : "https")
        // HTTPS requests use the proxy from the environment (https_proxy), if any, which sees only TLS traffic. Plain HTTP
        // is only for the loopback interface, and uses no proxy.
        if isPlain { set(CURLOPT_PROXY, "") }
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        // With HTTP/1.1, each response has its own connection. With HTTP/2, responses share the flow control window of one
        // connection, so that a task that stops reading one response could block the other responses.
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        if let authorities {
            set(CURLOPT_CAINFO, authorities)
            // Otherwise the system's certificate directory would be trusted in addition to the file.
            set(CURLOPT_CAPATH, nil)
        }
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_CONNECTTIMEOUT_MS, limits.connectMilliseconds)
        set(CURLOPT_LOW_SPEED_LIMIT, 1)
        set(CURLOPT_LOW_SPEED_TIME, limits.stallSeconds)
        set(CURLOPT_MAXAGE_CONN, limits.idleSeconds)
        set(CURLOPT_BUFFERSIZE, TransportLimits.receiveBytes)
        switch request.method {
        case .get: set(CURLOPT_HTTPGET, 1)
        case .head: set(CURLOPT_NOBODY, 1)
        case .delete: set(CURLOPT_CUSTOMREQUEST, "DELETE")
        case .put, .post:
            set(CURLOPT_UPLOAD, 1)
            set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
            isFine =
                flowhub_curl_set_offset(self.easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(request.body.count)) == CURLE_OK
                && isFine
        }
        return self.setCallbacks() && isFine
    }

    /// Sets the header fields of the request.
    /// - Returns: `false` if out of memory.
    private func setFields(_ headers: [NamedValue]) -> Bool {
        // Without "Expect:" libcurl would wait for a "100 Continue" that R2 never sends.
        for line in headers.map({ "\($0.name): \($0.value)" }) + ["Expect:", "User-Agent: flowhub"] {
            guard let longer = curl_slist_append(self.fields, line) else { return false }
            self.fields = longer
        }
        return flowhub_curl_set_list(self.easy, CURLOPT_HTTPHEADER, self.fields) == CURLE_OK
    }

    /// Sets the callbacks for the response head, the response body, the request body, and rewinding the request body.
    /// - Returns: `false` if libcurl rejects one.
    private func setCallbacks() -> Bool {
        flowhub_curl_set_callbacks(
            self.easy, Unmanaged.passUnretained(self).toOpaque(),
            { bytes, size, count, context in
                Transfer.of(context).receiveHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
            },
            { bytes, size, count, context in
                Transfer.of(context).receive(UnsafeRawBufferPointer(start: bytes, count: size * count))
            },
            { room, size, count, context in
                Transfer.of(context).send(UnsafeMutableRawBufferPointer(start: room, count: size * count))
            },
            { context, offset, origin in
                guard origin == SEEK_SET else { return CURL_SEEKFUNC_FAIL }
                Transfer.of(context).sent = Int(offset)
                return CURL_SEEKFUNC_OK
            }) == CURLE_OK
    }

    /// The transfer to which a callback belongs. ``TransportDriver`` retains the transfer as long as libcurl uses its easy
    /// handle, so that the pointer is valid in every callback.
    private static func of(_ context: UnsafeMutableRawPointer?) -> Transfer {
        guard let context else { preconditionFailure("libcurl has lost its context") }
        return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    }

    // MARK: Callbacks

    /// Processes one line of the response head. At the empty line that ends the head, passes the head to the exchange,
    /// except an informational head (status 1xx).
    /// - Returns: the size of the line; 0 if the head is too large, upon which libcurl ends the transfer.
    private func receiveHeader(_ line: UnsafeRawBufferPointer) -> Int {
        // libcurl passes the trailer fields after the body to this callback, too. They are ignored.
        if self.hasHead { return line.count }
        self.headSize += line.count
        guard self.headSize <= self.headBytes else {
            self.isOversized = true
            return 0
        }
        let end = line.lastIndex { $0 > 0x20 }.map { $0 + 1 } ?? 0
        let text = String(decoding: line[..<end], as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            self.status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            self.headers = []
        } else if let colon = text.firstIndex(of: ":") {
            let value = text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            self.headers.append(NamedValue(text[..<colon].lowercased(), String(value)))
        } else if text.isEmpty, self.status >= 200 {
            self.hasHead = true
            self.exchange.deliver(TransportHead(status: self.status, headers: self.headers))
        }
        return line.count
    }

    /// Passes bytes of the response body to the exchange.
    /// - Returns: the number of bytes processed; 0 to end the transfer; `CURL_WRITEFUNC_PAUSE` to pause it.
    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch self.exchange.accept(bytes) {
        case .accepted:
            self.needsFlush = true
            return bytes.count
        case .pause: return Int(CURL_WRITEFUNC_PAUSE)
        case .stop: return 0
        }
    }

    /// Copies the next bytes of the request body into libcurl's buffer.
    /// - Returns: the number of bytes copied; 0 at the end of the body.
    private func send(_ room: UnsafeMutableRawBufferPointer) -> Int {
        let body = self.exchange.request.body
        let count = min(room.count, body.count - self.sent)
        body.withUnsafeBytes { room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[self.sent..<self.sent + count])) }
        self.sent += count
        return count
    }
}
