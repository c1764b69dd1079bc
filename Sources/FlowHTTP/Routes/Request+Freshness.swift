import HTTPTypes
import Hummingbird

extension Request {
    /// Whether the client wants the state as the store has it now: `Cache-Control: no-cache` or `max-age=0` (RFC 9111, 5.2.1), or
    /// the parameter `fresh=1`, which needs no CORS preflight.
    var wantsCurrentState: Bool {
        if let directives = self.headers[.cacheControl], Self.demandsValidation(directives) { return true }
        return self.uri.query != nil && QueryParameters(self.querySubstring).first("fresh") == "1"
    }

    private static func demandsValidation(_ directives: String) -> Bool {
        directives.split(separator: ",").contains { directive in
            let text = directive.filter { $0 != " " && $0 != "\t" }.lowercased()
            return text == "no-cache" || text.hasPrefix("max-age=") && Int(text.dropFirst(8)) == 0
        }
    }
}
