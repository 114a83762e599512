// What a launch needs of a runtime and of the phone; the app has the real ones.

import Foundation

/// Why a launch has no numbers; the texts go into the event of the same name.
public enum LaunchFailure: Error, Equatable {
    case refused(String)
    case outOfMemory(String)
    case badInputs(String)
    case missing(String)
}

/// An input or output; a dimension of -1 is free.
public struct Tensor: Equatable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]

    public init(name: String, type: ElementType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }
}

/// A loaded model.
public protocol Model {
    /// What goes in. A runtime that tells no types and shapes takes them from the arrays `given`.
    func inputs(given: [String: FixedArray]) throws -> [Tensor]

    /// Fixes the inputs; what comes back makes one inference and nothing else.
    func bind(_ arrays: [String: FixedArray]) throws -> Invoke

    /// The outputs of the last inference.
    func outputs() throws -> [String: FixedArray]

    /// Which unit took how many operators, as the runtime told; empty where it tells nothing.
    func placements() throws -> [Placement]

    /// What the system expects to run where, which is no evidence; empty where it predicts nothing.
    func predicted() throws -> [Placement]
}

/// A runtime that is loaded, with one model that it may have to compile before it loads it.
public protocol LoadedRuntime {
    var version: String { get }

    /// How `Model.placements` come about; empty where the runtime does not tell.
    var placementsSource: String { get }

    /// Compiles the model and keeps it; called only where the plan says so.
    func compile() throws

    func load() throws -> Model
}

/// The phone under the app.
public protocol Phone {
    /// Nanoseconds of a clock that also counts while the phone sleeps.
    func now() -> Int64

    /// Memory that counts against this process: now, and at its highest.
    func footprint() -> (now: Int64, peak: Int64)

    func conditions() -> Conditions
}
