import FlowCore
import Testing

@testable import FlowObjects

@Suite struct SHA256Tests {
    /// FIPS 180-4, example of the three bytes "abc".
    @Test func matchesFIPS180Example() {
        let hash = OpenSSLSHA256()
        for byte in Array("abc".utf8) { withUnsafeBytes(of: byte) { hash.update($0) } }
        #expect(hash.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
