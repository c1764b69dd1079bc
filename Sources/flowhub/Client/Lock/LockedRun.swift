import FlowCore
import Foundation

/// A program that runs for as long as a lock is held, and no longer.
struct LockedRun {
    let locks: LockClient
    /// The program and its arguments.
    let command: [ProcessText]
    /// For the lock, if somebody else holds it.
    let wait: Duration
    /// For the program to end by itself when the lock is lost.
    let grace: Duration
    /// What the program inherits beside standard input, output and error.
    let files: Set<Int32>

    /// - Returns: how this process is to end for the program.
    /// - Throws: ``CommandFailure`` if the program could not be run or the lock was lost.
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
            throw CommandFailure(.lockLost, "The lock was lost, and the program was ended. \(loss.reason)")
        }
        await self.locks.release(held.id)
        return await ProgramEnded(process.ending())
    }

    // MARK: Private

    private struct Loss: Sendable {
        let reason: String
        /// The hub refused for another reason than that somebody else holds the lock.
        let mayStillHold: Bool
    }

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

    private func environment(_ held: LockClient.Held) -> [ProcessText] {
        ProcessText.environment(adding: [
            "FLOWHUB_LOCK_RESOURCE": self.locks.resource, "FLOWHUB_LOCK_ID": held.id,
            "FLOWHUB_FENCING_TOKEN": "\(held.fencingToken)",
        ])
    }

    /// Keeps the lock until the program has ended, or ends the program when the lock cannot be kept.
    /// - Returns: once the program is gone; `nil` if the lock was held all the time.
    private func loss(of held: LockClient.Held, during process: ChildProgram) async -> Loss? {
        await withTaskGroup(of: Loss?.self) { group in
            group.addTask {
                _ = await process.ending()
                return nil
            }
            group.addTask { await self.keep(held) }
            let loss = await group.next() ?? nil
            group.cancelAll()
            if let loss {
                Terminal.say("flowhub: the lock is lost, ending the program. \(loss.reason)")
                await process.end(within: self.grace)
            }
            return loss
        }
    }

    /// Renews the lock at a third of its time, again and again where the hub does not answer.
    /// - Returns: when it is lost; `nil` when this task is cancelled.
    private func keep(_ held: LockClient.Held) async -> Loss? {
        let ttl = Duration.seconds(self.locks.ttl)
        var until = held.until
        var next = until - ttl * 2 / 3
        var failure: String?
        while true {
            do { try await Task.sleep(until: min(next, until), clock: .continuous) } catch { return nil }
            let left = ContinuousClock.now.duration(to: until)
            guard left > .zero else {
                let reason = failure.map { " (\($0))" } ?? ""
                return Loss(reason: "It could not be renewed in its \(self.locks.ttl) s\(reason).", mayStillHold: false)
            }
            switch await self.locks.renew(held.id, left: left) {
            case .renewed(let end):
                if failure != nil { Terminal.say("flowhub: the lock is renewed") }
                failure = nil
                until = end
                next = until - ttl * 2 / 3
            case .refused(let reason):
                return Loss(reason: reason, mayStillHold: true)
            case .failed(let reason):
                if Task.isCancelled { return nil }
                if failure == nil { Terminal.say("flowhub: the lock could not be renewed (\(reason)), trying again") }
                failure = reason
                next = .now + min(.seconds(1), ttl / 10) * Double.random(in: 0.5...1)
            }
        }
    }
}

extension ProgramEnded {
    fileprivate init(_ ending: ChildProgram.Ending) {
        switch ending {
        case .exited(let code): self.init(exitCode: code)
        case .signalled(let signal): self.init(signal: signal)
        }
    }
}
