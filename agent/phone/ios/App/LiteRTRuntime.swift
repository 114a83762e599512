// LiteRT by TensorFlow Lite's Swift interface, in builds that are linked with it.

#if canImport(TensorFlowLite)
import Foundation
import JobKit
import TensorFlowLite

/// LiteRT with XNNPACK, with its own kernels, or through its Core ML delegate where that is linked.
struct LiteRTRuntime: LoadedRuntime {
    let version = TensorFlowLite.Runtime.version
    // The Swift interface does not show the nodes that a delegate replaced.
    let placementsSource = ""

    private let model: URL
    private var options = Interpreter.Options()
    private var delegates: [Delegate] = []

    init(_ model: URL, delegate: String, threads: Int) throws {
        self.model = model
        options.threadCount = threads
        switch delegate {
        case "none":
            break
        case "xnnpack":
            options.isXNNPackEnabled = true
        case "coreml":
            delegates = [try coreMLDelegate()]
        default:
            throw LaunchFailure.refused(
                "LiteRT here has no \(delegate) delegate; it has xnnpack, none and coreml")
        }
    }

    func compile() throws {}

    func load() throws -> Model {
        let interpreter = try Interpreter(
            modelPath: model.path, options: options,
            delegates: delegates.isEmpty ? nil : delegates)
        try interpreter.allocateTensors()
        return LiteRTModel(interpreter)
    }
}

private func coreMLDelegate() throws -> Delegate {
    #if canImport(TensorFlowLiteCCoreML)
    guard let delegate = CoreMLDelegate() else {
        throw LaunchFailure.refused("the Core ML delegate finds no Neural Engine here")
    }
    return delegate
    #else
    throw LaunchFailure.missing("LiteRT's Core ML delegate is not linked into this app")
    #endif
}

final class LiteRTModel: Model {
    private let interpreter: Interpreter

    init(_ interpreter: Interpreter) {
        self.interpreter = interpreter
    }

    func inputs(given: [String: FixedArray]) throws -> [JobKit.Tensor] {
        try (0..<interpreter.inputTensorCount).map { index in
            let tensor = try interpreter.input(at: index)
            return JobKit.Tensor(
                name: tensor.name, type: try elementType(tensor),
                shape: tensor.shape.dimensions)
        }
    }

    func bind(_ arrays: [String: FixedArray]) throws -> Invoke {
        for index in 0..<interpreter.inputTensorCount {
            let name = try interpreter.input(at: index).name
            guard let array = arrays[name] else {
                throw LaunchFailure.badInputs("there is no array for input '\(name)'")
            }
            try interpreter.copy(array.bytes, toInputAt: index)
        }
        return { [interpreter] in try interpreter.invoke() }
    }

    func outputs() throws -> [String: FixedArray] {
        var found: [String: FixedArray] = [:]
        for index in 0..<interpreter.outputTensorCount {
            let tensor = try interpreter.output(at: index)
            found[tensor.name] = FixedArray(
                type: try elementType(tensor), shape: tensor.shape.dimensions, bytes: tensor.data)
        }
        return found
    }

    func placements() throws -> [Placement] {
        []
    }

    func predicted() throws -> [Placement] {
        []
    }
}

private func elementType(_ tensor: TensorFlowLite.Tensor) throws -> ElementType {
    switch tensor.dataType {
    case .bool: return .bool
    case .uInt8: return .uint8
    case .int16: return .int16
    case .int32: return .int32
    case .int64: return .int64
    case .float16: return .float16
    case .float32: return .float32
    case .float64: return .float64
    }
}
#endif
