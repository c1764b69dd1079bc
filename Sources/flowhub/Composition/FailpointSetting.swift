#if DEBUG
import FlowCore
import Foundation

/// The environment variable `FLOWHUB_FAILPOINT`, for tests of crashes. Debug builds only.
enum FailpointSetting {
    /// Arms the failpoint that the variable names: the process kills itself when it reaches the failpoint for the first time.
    static func arm() {
        guard let name = ProcessInfo.processInfo.environment["FLOWHUB_FAILPOINT"], let chosen = Failpoint(rawValue: name) else {
            return
        }
        Failpoint.arm { failpoint in if failpoint == chosen { kill(getpid(), SIGKILL) } }
    }
}
#endif
