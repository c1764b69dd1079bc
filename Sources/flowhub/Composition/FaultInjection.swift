#if DEBUG
import FlowCore
import Foundation

/// Fault injection by environment variables, for tests. Debug builds only.
enum FaultInjection {
    /// Enables the faults of `FLOWHUB_FAULTS`, which the tests must detect, and the failpoint of `FLOWHUB_FAILPOINT`, at
    /// which the process kills itself.
    static func inject() {
        let environment = ProcessInfo.processInfo.environment
        if let names = environment["FLOWHUB_FAULTS"] {
            InjectedFault.inject(names.split(separator: ",").compactMap { InjectedFault(name: String($0)) })
        }
        // The process kills itself when it reaches the failpoint for the first time.
        if let name = environment["FLOWHUB_FAILPOINT"], let chosen = Failpoint(rawValue: name) {
            Failpoint.arm { failpoint in if failpoint == chosen { kill(getpid(), SIGKILL) } }
        }
    }
}
#endif
