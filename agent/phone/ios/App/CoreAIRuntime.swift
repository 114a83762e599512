// Core AI: a model that is specialised for chosen compute units, and its inputs bound beforehand.

#if canImport(CoreAI)
import CoreAI
import Foundation
import JobKit

/// Core AI with the options that a job's delegate names: one restricts, the others are wishes.
@available(iOS 27, *)
struct CoreAIRuntime: LoadedRuntime {
    // Core AI has no version of its own: it is part of the system.
    let version: String
    // Core AI tells of nothing where it ran.
    let placementsSource = ""

    private let kept: SpecialisedModel
    private let options: SpecializationOptions

    init(_ kept: SpecialisedModel, delegate: String) throws {
        self.kept = kept
        let system = ProcessInfo.processInfo.operatingSystemVersion
        version = "Core AI, iOS \(system.majorVersion).\(system.minorVersion)"
        switch delegate {
        case "default": options = .default
        case "cpu_only": options = .cpuOnly
        case "prefer_gpu": options = SpecializationOptions(preferredComputeUnitKind: .gpu)
        case "prefer_neural_engine":
            options = SpecializationOptions(preferredComputeUnitKind: .neuralEngine)
        default:
            throw LaunchFailure.refused(
                "Core AI has no options \(delegate); it has default, cpu_only, prefer_gpu and "
                    + "prefer_neural_engine")
        }
    }

    func compile() throws {
        let asset = try kept.asset()
        _ = try waited { [options] in
            try await AIModel.specialize(
                contentsOf: asset, options: options, cache: .default, cachePolicy: .persistent)
        }
        try kept.keep()
    }

    func load() throws -> Model {
        let asset = try kept.asset()
        guard let model = try AIModelCache.default.model(for: asset, options: options) else {
            try kept.forget()
            throw LaunchFailure.refused("iOS purged what it had specialised; launch it again")
        }
        guard let function = try model.loadFunction(named: "main") else {
            throw LaunchFailure.refused("the model has no function named main")
        }
        guard function.descriptor.stateNames.isEmpty else {
            throw LaunchFailure.refused("the model keeps a state between inferences")
        }
        return CoreAIModel(function)
    }
}

@available(iOS 27, *)
final class CoreAIModel: Model {
    private let function: InferenceFunction
    private var last: [String: NDArray] = [:]

    init(_ function: InferenceFunction) {
        self.function = function
    }

    func inputs(given: [String: FixedArray]) throws -> [Tensor] {
        try function.descriptor.inputNames.map { name in
            let array = try descriptor(of: name)
            return Tensor(
                name: name, type: try elementType(array.scalarType, of: name),
                shape: array.shape.map { $0 < 0 ? -1 : $0 })
        }
    }

    /// An inference can only be awaited: the way to the pool and back is part of every sample.
    func bind(_ arrays: [String: FixedArray]) throws -> Invoke {
        var values: [String: NDArray] = [:]
        for (name, array) in arrays {
            values[name] = try ndArray(array, as: try descriptor(of: name))
        }
        return { [self, values] in
            last = try waited { [self] in try await answer(to: values) }
        }
    }

    func outputs() throws -> [String: FixedArray] {
        var found: [String: FixedArray] = [:]
        for (name, array) in last {
            found[name] = try fixedArray(array, of: name)
        }
        return found
    }

    func placements() throws -> [Placement] {
        []
    }

    func predicted() throws -> [Placement] {
        []
    }

    private func answer(to values: [String: NDArray]) async throws -> [String: NDArray] {
        var outputs = try await function.run(inputs: values)
        var found: [String: NDArray] = [:]
        for name in function.descriptor.outputNames {
            found[name] = outputs.remove(name)?.ndArray
        }
        return found
    }

    private func descriptor(of input: String) throws -> NDArrayDescriptor {
        guard case .ndArray(let array)? = function.descriptor.inputDescriptor(of: input) else {
            throw LaunchFailure.refused(
                "input '\(input)' is no array; convert the model with arrays")
        }
        return array
    }
}

@available(iOS 27, *)
private func elementType(_ type: NDArray.ScalarType, of name: String) throws -> ElementType {
    switch type {
    case .float16: return .float16
    case .float32: return .float32
    case .float64: return .float64
    case .int8: return .int8
    case .int16: return .int16
    case .int32: return .int32
    case .int64: return .int64
    case .uint8: return .uint8
    case .uint16: return .uint16
    case .uint32: return .uint32
    default:
        throw LaunchFailure.refused("'\(name)' is of a type that this app does not know: \(type)")
    }
}

/// An array as the function wants it laid out.
@available(iOS 27, *)
private func ndArray(_ array: FixedArray, as wanted: NDArrayDescriptor) throws -> NDArray {
    var made = NDArray(descriptor: wanted.resolvingDynamicDimensions(array.shape))
    let size = array.type.size
    let count = array.shape.reduce(1, *)
    let bytes = [UInt8](array.bytes)
    made.mutableRawView().withUnsafeMutableBytes { target, shape, strides in
        let sizes = (0..<shape.count).map { shape[$0] }
        let steps = (0..<strides.count).map { strides[$0] }
        for index in 0..<count {
            let at = offset(of: index, shape: sizes, strides: steps) * size
            for byte in 0..<size {
                target.storeBytes(
                    of: bytes[index * size + byte], toByteOffset: at + byte, as: UInt8.self)
            }
        }
    }
    return made
}

/// Numbers row after row, whatever gaps the system left between rows.
@available(iOS 27, *)
private func fixedArray(_ array: NDArray, of name: String) throws -> FixedArray {
    let type = try elementType(array.scalarType, of: name)
    let shape = array.shape.map { Int($0) }
    let count = shape.reduce(1, *)
    var bytes = Data(capacity: count * type.size)
    array.rawView().withUnsafeBytes { source, _, strides in
        let steps = (0..<strides.count).map { strides[$0] }
        for index in 0..<count {
            let at = offset(of: index, shape: shape, strides: steps) * type.size
            bytes.append(Data(bytes: source + at, count: type.size))
        }
    }
    return FixedArray(type: type, shape: shape, bytes: bytes)
}
#endif
