#if DEBUG
import FlowCore
import Foundation

/// What tests do to a process from outside. Debug builds only.
enum FaultInjection {
    /// As the environment says: faults that the tests must notice, and the place at which the process dies.
    static func plant() {
        let environment = ProcessInfo.processInfo.environment
        if let names = environment["FLOWHUB_FAULTS"] {
            InjectedFault.plant(names.split(separator: ",").compactMap { InjectedFault(name: String($0)) })
        }
        // SIGKILL, the first time that it gets there.
        if let name = environment["FLOWHUB_FAILPOINT"], let chosen = Failpoint(rawValue: name) {
            Failpoint.arm { place in if place == chosen { kill(getpid(), SIGKILL) } }
        }
    }
}
#endif
