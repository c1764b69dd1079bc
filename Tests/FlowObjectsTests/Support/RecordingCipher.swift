import FlowCore
import FlowObjects
import Synchronization

/// Records each use of a key with a nonce.
final class RecordingCipher: ImportCipher {
    struct Use: Hashable {
        var key: [UInt8]
        var nonce: [UInt8]
    }

    let uses = Mutex<[Use]>([])
    private let cipher = OpenSSLImportCipher()

    func randomBytes(_ count: Int) -> [UInt8] { self.cipher.randomBytes(count) }

    func derive(_ count: Int, from secret: [UInt8], salt: [UInt8], info: [UInt8]) -> [UInt8] {
        self.cipher.derive(count, from: secret, salt: salt, info: info)
    }

    func seal(_ bytes: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8] {
        self.uses.withLock { $0.append(Use(key: key, nonce: nonce)) }
        return self.cipher.seal(bytes, key: key, nonce: nonce, associatedData: associatedData)
    }

    func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8]? {
        self.cipher.open(sealed, key: key, nonce: nonce, associatedData: associatedData)
    }
}
