/// A client that reads event streams, as a program in `readers`.
enum ReaderClient: String, CaseIterable, Sendable, CustomStringConvertible {
    case requestsLines, requestsContent, urllib3Stream, sseclientPy, sseclient, sseclientKeepAlive, httpxSSE, aiohttp
    case aiohttpSSEClient, requestsSSE, urllibRequest, curl, fetch, eventSource, watch

    enum Program: Sendable {
        /// A module of the Python package `readers`.
        case python(String)
        case node
        case chromium
    }

    var program: Program {
        switch self {
        case .requestsLines: .python("requests_lines")
        case .requestsContent: .python("requests_content")
        case .urllib3Stream: .python("urllib3_stream")
        case .sseclientPy: .python("sseclient_py")
        case .sseclient: .python("sseclient_file")
        case .sseclientKeepAlive: .python("sseclient_keepalive")
        case .httpxSSE: .python("httpx_sse_client")
        case .aiohttp: .python("aiohttp_lines")
        case .aiohttpSSEClient: .python("aiohttp_sse")
        case .requestsSSE: .python("requests_sse_client")
        case .urllibRequest: .python("urllib_request")
        case .curl: .python("curl")
        case .watch: .python("watch")
        case .fetch: .node
        case .eventSource: .chromium
        }
    }

    /// The name in PROTOCOL.md's table of known clients.
    var description: String {
        switch self {
        case .requestsLines: "requests, `iter_lines`"
        case .requestsContent: "requests, `iter_content(512)`"
        case .urllib3Stream: "urllib3, `stream`"
        case .sseclientPy: "sseclient-py"
        case .sseclient: "sseclient with `Connection: close`"
        case .sseclientKeepAlive: "sseclient"
        case .httpxSSE: "httpx-sse"
        case .aiohttp: "aiohttp, by lines"
        case .aiohttpSSEClient: "aiohttp-sse-client"
        case .requestsSSE: "requests-sse"
        case .urllibRequest: "`urllib.request`"
        case .curl: "curl `-N`"
        case .fetch: "Node's `fetch`"
        case .eventSource: "Chromium's `EventSource`"
        case .watch: "`flowhub watch --json`"
        }
    }
}

/// What a client of the matrix reads.
enum ReaderCase: String, CaseIterable, Sendable, CustomStringConvertible {
    /// A new subscriber: the snapshot, then events.
    case fresh
    /// The stream ends twice: the hub ends it, and then the connection is lost. The client continues with its own cursor.
    case resumed
    /// With `?types=`.
    case filtered
    /// A state of 900 KB.
    case largeState
    /// Text that is not ASCII.
    case text
    /// Characters that some programs take for line ends: U+2028, U+2029, U+0085.
    case separators
    /// Each byte in a chunk of its own.
    case singleBytes
    /// The same with CR LF, cut between the two.
    case singleBytesWithCRLF

    var description: String { self.rawValue }
}

extension ReaderClient {
    /// Something that a client cannot read from any server.
    struct Fault: Sendable {
        /// What the failure of the case says.
        let symptom: String
        /// What the client's row in PROTOCOL.md says.
        let document: String

        static let cutLineEnd = Fault(
            symptom: "not message", document: "takes a CR LF that a proxy cuts in two for two line ends")
        static let chunkHeads = Fault(symptom: "JSONDecodeError", document: "reads chunk heads as data")
        static let chunkHeadsOfProxy = Fault(symptom: "JSONDecodeError", document: "behind a proxy that sends chunks: as below")
    }

    /// The client's own fault that makes a case fail; `nil` if it reads the case.
    func fault(in what: ReaderCase) -> Fault? {
        switch (self, what) {
        case (.requestsLines, .singleBytesWithCRLF), (.requestsSSE, .singleBytesWithCRLF): .cutLineEnd
        case (.sseclientKeepAlive, .resumed), (.sseclientKeepAlive, .singleBytes), (.sseclientKeepAlive, .singleBytesWithCRLF):
            .chunkHeads
        case (.sseclient, .singleBytes), (.sseclient, .singleBytesWithCRLF): .chunkHeadsOfProxy
        default: nil
        }
    }
}
