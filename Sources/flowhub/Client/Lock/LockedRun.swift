import FlowCore
import Foundation

/// Runs a program while a lock is held, and ends it if the lock is lost.
struct LockedRun {
    let locks: LockClient
    /// The program and its arguments.
    let command: [ProcessText]
    /// Maximum time to wait for the lock while another client holds it.
    let wait: Duration
    /// Time between SIGTERM and SIGKILL for the program if the lock is lost.
    let grace: Duration
    /// The open descriptors that the program inherits, standard input, output and error included.
    let files: Set<Int32>

    /// Acquires the lock, runs the program, and releases the lock.
    /// - Returns: the exit code with which this process must end: that of the program.
    /// - Throws: ``CommandFailure`` if the lock was not acquired or was lost, or if the program cannot be run;
    ///   ``ProgramEnded`` if a signal was received before the program started.
    func run() async throws -> ProgramEnded {
        let signals = try SignalRelay()
        let held = try await self.acquire(signals)
        let process: ChildProgram
        do {
            process = try ChildProgram(self.command, environment: self.environment(held), files: self.files)
        } catch {
            await self.locks.release(held.id)
            throw error
        }
        signals.relay(to: process)
        let loss = await self.loss(of: held, during: process)
        signals.stop()
        if let loss {
            if loss.mayStillHold { await self.locks.release(held.id) }
            throw CommandFailure(.lockLost, "The lock was lost and the program was ended. \(loss.reason)")
        }
        await self.locks.release(held.id)
        return await ProgramEnded(process.ending())
    }

    // MARK: Private

    /// Why the lock was lost.
    private struct Loss: Sendable {
        let reason: String
        /// Whether this client may still hold the lock at the hub, because the hub rejected a renewal before the lock expired.
        /// If so, this client releases the lock.
        let mayStillHold: Bool
    }

    /// Acquires the lock. A signal that is received before the lock is acquired cancels the attempts to acquire it.
    /// - Throws: ``CommandFailure`` if the lock was not acquired; ``ProgramEnded`` after a signal.
    private func acquire(_ signals: SignalRelay) async throws -> LockClient.Held {
        let acquiring = Task { try await self.locks.acquire(waiting: self.wait) }
        signals.beforeRelaying { acquiring.cancel() }
        let held: LockClient.Held
        do {
            held = try await acquiring.value
        } catch is CancellationError {
            throw ProgramEnded(signal: signals.received ?? SIGINT)
        }
        if let signal = signals.received {
            await self.locks.release(held.id)
            throw ProgramEnded(signal: signal)
        }
        return held
    }

    /// The environment of the program: that of this process, and the variables that describe the lock.
    private func environment(_ held: LockClient.Held) -> [ProcessText] {
        ProcessText.environment(adding: [
            "FLOWHUB_LOCK_RESOURCE": self.locks.resource, "FLOWHUB_LOCK_ID": held.id,
            "FLOWHUB_FENCING_TOKEN": "\(held.fencingToken)",
        ])
    }

    /// Renews the lock until the program has ended. Ends the program if the lock is lost.
    /// - Returns: when the program has ended: why the lock was lost; `nil` if the lock was held until then.
    private func loss(of held: LockClient.Held, during process: ChildProgram) async -> Loss? {
        await withTaskGroup(of: Loss?.self) { group in
            group.addTask {
                _ = await process.ending()
                return nil
            }
            group.addTask { await self.renewUntilLost(held) }
            let loss = await group.next() ?? nil
            group.cancelAll()
            if let loss {
                Terminal.note("flowhub: the lock was lost; ending the program. \(loss.reason)")
                await process.end(within: self.grace)
            }
            return loss
        }
    }

    /// Renews the lock each time a third of its TTL has passed. Retries while the hub is unavailable, until the lock expires.
    /// - Returns: why the lock was lost; `nil` if this task is cancelled.
    private func renewUntilLost(_ held: LockClient.Held) async -> Loss? {
        let ttl = Duration.seconds(self.locks.ttl)
        var until = held.until
        var next = until - ttl * 2 / 3
        var failure: String?
        while true {
            do { try await Task.sleep(until: min(next, until), clock: .continuous) } catch { return nil }
            let remaining = ContinuousClock.now.duration(to: until)
            guard remaining > .zero else {
                let reason = failure.map { " (\($0))" } ?? ""
                return Loss(reason: "The lock could not be renewed within \(self.locks.ttl) s\(reason).", mayStillHold: false)
            }
            switch await self.locks.renew(held.id, remaining: remaining) {
            case .renewed(let end):
                if failure != nil { Terminal.note("flowhub: lock renewed") }
                failure = nil
                until = end
                next = until - ttl * 2 / 3
            case .rejected(let reason):
                return Loss(reason: reason, mayStillHold: true)
            case .failed(let reason):
                if Task.isCancelled { return nil }
                if failure == nil { Terminal.note("flowhub: lock renewal failed (\(reason)); retrying") }
                failure = reason
                next = .now + min(.seconds(1), ttl / 10) * Double.random(in: 0.5...1)
            }
        }
    }
}

extension ProgramEnded {
    /// Converts the ending of the program to the exit code of this process.
    fileprivate init(_ ending: ChildProgram.Ending) {
        switch ending {
        case .exited(let code): self.init(exitCode: code)
        case .signalled(let signal): self.init(signal: signal)
        }
    }
}
