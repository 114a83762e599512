// What has to be done before a launch, and which cold start it then really shows.

/// Decided by the job and by what the app kept of earlier launches.
public struct LaunchPlan: Equatable {
    /// Whatever the system compiled and cached for this app is removed first.
    public let emptiesCaches: Bool
    /// The model is compiled on the phone in this very launch.
    public let compiles: Bool
    /// What the launch shows. A model of Core ML or Core AI that was never compiled here makes a first
    /// start, whatever was asked for: the agent then launches again.
    public let coldStart: ColdStart

    public init(_ job: JobFile, keepsCompiledModel: Bool) {
        emptiesCaches = job.cold == .firstEver
        let isCompiled = job.runtime == .coreml || job.runtime == .coreai
        compiles = isCompiled && (emptiesCaches || !keepsCompiledModel)
        coldStart = compiles ? .firstEver : job.cold
    }
}
