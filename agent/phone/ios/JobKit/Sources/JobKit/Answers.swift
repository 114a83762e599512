// Keeps the answers to one job up to date in its folder.

import Foundation

/// Writes `status.json` after every event and `result.json` at the end; every event is a line on
/// standard output, too.
public final class Answers {
    private let job: JobFile
    private let folder: URL
    private let phone: Phone
    private let before: Conditions
    private let encoder = JSONEncoder()
    private var events: [Event] = []

    public init(_ job: JobFile, in folder: URL, on phone: Phone) throws {
        self.job = job
        self.folder = folder
        self.phone = phone
        before = phone.conditions()
        try writeStatus()
    }

    /// Takes in what a launch says. What cannot be written ends the app: its agent then sees an
    /// end without an answer, and no launch that was half told.
    public func say(_ event: Event) {
        events.append(event)
        do {
            try writeStatus()
            let line = try encoder.encode(event) + Data("\n".utf8)
            try FileHandle.standardOutput.write(contentsOf: line)
        } catch {
            fatalError("the answer cannot be written: \(error)")
        }
    }

    /// `foundSha256` is of the model that was found, `aside` what the launch told besides events.
    public func finish(foundSha256: String, appVersion: String, aside: Aside) throws {
        let result = ResultFile(
            format: JobFile.currentFormat,
            job: job.job,
            nonce: job.nonce,
            modelSha256: foundSha256,
            appVersion: appVersion,
            before: before,
            after: phone.conditions(),
            events: events,
            compileNs: aside.compileNs,
            placementsSource: aside.placementsSource,
            predicted: aside.predicted)
        let place = folder.appendingPathComponent("result.json")
        try putInPlace(try encoder.encode(result), at: place)
    }

    private func writeStatus() throws {
        let status = StatusFile(
            format: JobFile.currentFormat,
            job: job.job,
            nonce: job.nonce,
            pid: Int(ProcessInfo.processInfo.processIdentifier),
            events: events)
        let place = folder.appendingPathComponent("status.json")
        try putInPlace(try encoder.encode(status), at: place)
    }
}
