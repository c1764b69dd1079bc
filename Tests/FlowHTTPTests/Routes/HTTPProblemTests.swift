import FlowCore
import Testing

@testable import FlowHTTP

@Suite struct HTTPProblemTests {
    @Test(arguments: [(AccessError.tokenMissing, 401, "Unauthorized"), (.originForbidden, 403, "Forbidden")])
    func accessProblemContainsStatusAndTitle(_ error: AccessError, _ status: Int64, _ title: String) {
        let document = HTTPProblem(error).document
        #expect(document.member("status")?.intValue == status && Int64(error.status) == status)
        #expect(document.member("title")?.stringValue == title)
    }
}
