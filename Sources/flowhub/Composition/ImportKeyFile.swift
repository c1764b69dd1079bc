import FlowCore
import FlowObjects
import Foundation

/// The file of import keys that `FLOWHUB_IMPORT_KEYS` names.
struct ImportKeyFile {
    static let setting = "FLOWHUB_IMPORT_KEYS"

    /// Why the file cannot be used. The text has no part of a key.
    struct Invalid: Error, CustomStringConvertible {
        let description: String
    }

    let path: String

    /// The import keys of a configuration; `nil` without `FLOWHUB_IMPORT_KEYS`.
    static func keyring(_ configuration: HubConfiguration) throws(Invalid) -> ImportKeyring? {
        guard let path = configuration.importKeysPath else { return nil }
        return ImportKeyring(OpenSSLImportCipher(), keys: try ImportKeyFile(path: path).read())
    }

    /// Reads the file.
    func read() throws(Invalid) -> ImportKeySet {
        guard let data = FileManager.default.contents(atPath: self.path) else {
            throw Invalid(
                description:
                    "\(Self.setting): the file \(self.path) cannot be read. Check that it exists and that the hub's user "
                    + "can read it.")
        }
        do throws(ImportKeySet.Invalid) {
            return try ImportKeySet([UInt8](data))
        } catch {
            throw Invalid(
                description: "\(Self.setting): the file \(self.path) is invalid: \(error). Each line must have a name and 32 "
                    + "bytes in Base64: `echo \"2026-01 $(openssl rand -base64 32)\"`.")
        }
    }

    /// Whether users other than the file's owner may read it; `nil` if that is unknown.
    var isReadableByOthers: Bool? {
        let target = URL(fileURLWithPath: self.path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: target)
        return (attributes?[.posixPermissions] as? Int).map { $0 & 0o077 != 0 }
    }
}
