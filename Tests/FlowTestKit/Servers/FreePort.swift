#if canImport(Glibc)
import Glibc
#endif

/// Free ports on the loopback interface, for servers that cannot choose their own.
public enum FreePort {
    /// A free port below the range of ephemeral client ports, so that no client takes it before the server binds it or while
    /// the server is down.
    public static func choose() throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 12_000...31_999)
            if !Self.isInUse(port) { return port }
        }
        throw ChildProcess.Failure(description: "no free port was found")
    }

    /// Whether a process listens on the port at 127.0.0.1.
    public static func isInUse(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
