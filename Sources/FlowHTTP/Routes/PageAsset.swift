import Crypto
import HTTPTypes
import Hummingbird
import NIOCore

/// A file of the web UI, embedded in the binary.
struct PageAsset: Sendable {
    let path: String
    private let type: String
    private let body: ByteBuffer
    /// The `ETag`: a hash of the content in quotes.
    private let tag: String

    static let all = [
        PageAsset("/", "text/html; charset=utf-8", PackageResources.index_html),
        PageAsset("/page.css", "text/css; charset=utf-8", PackageResources.page_css),
        PageAsset("/page.js", "text/javascript; charset=utf-8", PackageResources.page_js),
        PageAsset("/favicon.svg", "image/svg+xml", PackageResources.favicon_svg),
    ]

    /// The Content-Security-Policy: only the hub's own resources, no inline code or styles, no embedding in frames.
    private static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
        + "form-action 'self'; frame-ancestors 'none'"

    private init(_ path: String, _ type: String, _ bytes: [UInt8]) {
        self.path = path
        self.type = type
        self.body = ByteBuffer(bytes: bytes)
        let digest = SHA256.hash(data: bytes).prefix(8).map { String($0, radix: 16) }.joined(separator: "-")
        self.tag = "\"\(digest)\""
    }

    /// The response with the file, or 304 if `If-None-Match` shows that the browser already has this content.
    func response(to request: Request) -> Response {
        var headers: HTTPFields = [.contentType: self.type, .cacheControl: "no-cache", .eTag: self.tag]
        headers[.contentSecurityPolicy] = Self.policy
        headers[.xContentTypeOptions] = "nosniff"
        if let referrer = HTTPField.Name("referrer-policy") { headers[referrer] = "no-referrer" }
        if let condition = request.headers[.ifNoneMatch], Preconditions.matches(condition, tag: self.tag) {
            return Response(status: .notModified, headers: headers)
        }
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: self.body))
    }
}
