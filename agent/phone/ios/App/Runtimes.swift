// The runtimes that this build of the app was linked with, and the one that a job names.

import Foundation
import JobKit

struct Runtimes {
    private let job: JobFile
    private let model: URL
    private let place: URL

    init(_ job: JobFile, model: URL, containers: Containers) {
        self.job = job
        self.model = model
        place = containers.compiled.appendingPathComponent(job.modelSha256)
    }

    private var kept: KeptModel {
        #if canImport(CoreAI)
        if #available(iOS 27, *), job.runtime == .coreai { return specialised }
        #endif
        return compiled
    }

    private var compiled: CompiledModel {
        CompiledModel(archive: model, folder: place)
    }

    #if canImport(CoreAI)
    @available(iOS 27, *)
    private var specialised: SpecialisedModel {
        SpecialisedModel(archive: model, folder: place, delegate: job.delegate)
    }
    #endif

    var keepsCompiledModel: Bool {
        kept.isThere
    }

    func forgetCompiledModel() throws {
        try kept.remove()
    }

    /// Lays out what the runtime has to find as files; no part of the launch.
    func unpack(_ plan: LaunchPlan) throws {
        if plan.compiles { try kept.unpackSource() }
    }

    /// Loads the runtime that the job names.
    func open() throws -> LoadedRuntime {
        switch job.runtime {
        case .coreml:
            return try CoreMLRuntime(compiled, delegate: job.delegate)
        case .onnxruntime:
            #if canImport(OnnxRuntimeBindings)
            return try OnnxRuntime(model, delegate: job.delegate, threads: job.threads)
            #else
            throw LaunchFailure.missing("ONNX Runtime is not linked into this app")
            #endif
        case .litert:
            #if canImport(TensorFlowLite)
            return try LiteRTRuntime(model, delegate: job.delegate, threads: job.threads)
            #else
            throw LaunchFailure.missing("LiteRT is not linked into this app")
            #endif
        case .coreai:
            #if canImport(CoreAI)
            guard #available(iOS 27, *) else {
                throw LaunchFailure.missing("Core AI needs iOS 27")
            }
            return try CoreAIRuntime(specialised, delegate: job.delegate)
            #else
            throw LaunchFailure.missing("this app was built without Core AI: Xcode 27 has it")
            #endif
        case .executorch:
            throw LaunchFailure.missing("ExecuTorch is not part of this app")
        }
    }
}
