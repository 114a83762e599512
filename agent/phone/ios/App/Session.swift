// One job from its file to its result; gives the exit code.

import Foundation
import JobKit

struct Session {
    static let answered: Int32 = 0
    static let misused: Int32 = 2

    private let name: String
    private let phone = ThisPhone()
    private let containers = Containers()

    init(job name: String) {
        self.name = name
    }

    /// A job that cannot be understood has no nonce to answer with: that is told on standard error.
    func run() -> Int32 {
        do {
            try answer()
            return Session.answered
        } catch {
            FileHandle.standardError.write(Data("distillfarm: \(error)\n".utf8))
            return Session.misused
        }
    }

    private func answer() throws {
        guard isPlainPath(name) else { throw JobMistake("--job is no name of a job") }
        let checkingNs = phone.now()
        let folder = containers.documents.appendingPathComponent("jobs/\(name)")
        let job = try JobFile.read(
            try Data(contentsOf: folder.appendingPathComponent("job.json")))
        guard job.job == name else { throw JobMistake("job.json is of job \(job.job)") }

        let answers = try Answers(job, in: folder, on: phone)
        let model = containers.documents.appendingPathComponent(job.model)
        let found = try sha256(of: model)
        var aside = Aside()
        if found == job.modelSha256 {
            aside = try launch(job, model: model, answers: answers, checkingNs: checkingNs)
        }
        try answers.finish(
            foundSha256: found, appVersion: containers.appVersion, aside: aside)
    }

    private func launch(
        _ job: JobFile, model: URL, answers: Answers, checkingNs: Int64
    ) throws -> Aside {
        let runtimes = Runtimes(job, model: model, containers: containers)
        let plan = LaunchPlan(job, keepsCompiledModel: runtimes.keepsCompiledModel)
        if plan.emptiesCaches {
            try runtimes.forgetCompiledModel()
            try empty(containers.caches)
        }
        do {
            try runtimes.unpack(plan)
        } catch LaunchFailure.refused(let reason) {
            answers.say(.refused(reason: reason))
            return Aside()
        }
        // Looking the model over and laying it out is the measuring's work, not the launch's.
        let launchedNs = phone.processStartedNs + (phone.now() - checkingNs)
        let launch = Launch(
            job, plan: plan, on: phone, documents: containers.documents, say: answers.say)
        return launch.run(launchedNs: launchedNs, opening: runtimes.open)
    }
}
