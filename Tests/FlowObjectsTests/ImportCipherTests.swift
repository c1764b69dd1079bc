import FlowCore
import Testing

@testable import FlowObjects

/// The published examples of the algorithms that encrypt imports.
@Suite struct ImportCipherTests {
    private let cipher = OpenSSLImportCipher()

    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.filter { !$0.isWhitespace })
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) }
    }

    /// RFC 5869, A.1.
    @Test func derivesKeysAsRFC5869() {
        let derived = self.cipher.derive(
            42, from: [UInt8](repeating: 0x0b, count: 22), salt: self.bytes("000102030405060708090a0b0c"),
            info: self.bytes("f0f1f2f3f4f5f6f7f8f9"))
        #expect(
            derived
                == self.bytes(
                    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
    }

    /// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16.
    @Test func encryptsAsThePublishedExample() {
        let key = self.bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
        let nonce = self.bytes("cafebabefacedbaddecaf888")
        let text = self.bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        )
        let data = self.bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")
        let sealed = self.cipher.seal(text, key: key, nonce: nonce, associatedData: data)
        #expect(
            sealed
                == self.bytes(
                    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                        + "76fc6ece0f4e1768cddf8853bb2d551b"))
        #expect(self.cipher.open(sealed, key: key, nonce: nonce, associatedData: data) == text)
        for index in [0, text.count - 1, text.count, sealed.count - 1] {
            var changed = sealed
            changed[index] ^= 1
            #expect(self.cipher.open(changed, key: key, nonce: nonce, associatedData: data) == nil)
        }
        #expect(self.cipher.open(Array(sealed.dropLast()), key: key, nonce: nonce, associatedData: data) == nil)
        #expect(self.cipher.open([], key: key, nonce: nonce, associatedData: data) == nil)
        let empty = self.cipher.seal([], key: key, nonce: nonce, associatedData: [])
        #expect(empty.count == 16 && self.cipher.open(empty, key: key, nonce: nonce, associatedData: []) == [])
    }

    @Test func saltsDiffer() { #expect(Set((0..<100).map { _ in self.cipher.randomBytes(32) }).count == 100) }
}
