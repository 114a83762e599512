// What MLComputePlan expects to run where: a prediction of the system, and never evidence.

import CoreML
import Foundation
import JobKit

@available(iOS 17.4, *)
enum ComputePlan {
    /// How many operators each unit is expected to take, the largest first.
    static func predicted(
        of model: URL, configuration: MLModelConfiguration
    ) async throws -> [Placement] {
        let plan = try await MLComputePlan.load(contentsOf: model, configuration: configuration)
        var counts: [String: Int] = [:]
        for device in preferred(plan, plan.modelStructure) {
            counts[device, default: 0] += 1
        }
        return counts.map { Placement(unit: $0.key, nodes: $0.value) }
            .sorted { ($0.nodes, $1.unit) > ($1.nodes, $0.unit) }
    }

    private static func preferred(
        _ plan: MLComputePlan, _ structure: MLModelStructure
    ) -> [String] {
        switch structure {
        case .program(let program):
            return program.functions.values.flatMap { preferred(plan, $0.block) }
        case .neuralNetwork(let network):
            return network.layers.compactMap { name(plan.deviceUsage(for: $0)?.preferred) }
        case .pipeline(let pipeline):
            return pipeline.subModels.values.flatMap { preferred(plan, $0) }
        case .unsupported:
            return []
        @unknown default:
            return []
        }
    }

    private static func preferred(
        _ plan: MLComputePlan, _ block: MLModelStructure.Program.Block
    ) -> [String] {
        block.operations.flatMap { operation in
            [name(plan.deviceUsage(for: operation)?.preferred)].compactMap { $0 }
                + operation.blocks.flatMap { preferred(plan, $0) }
        }
    }

    /// Constants have no device.
    private static func name(_ device: MLComputeDevice?) -> String? {
        switch device {
        case .cpu: return "CPU"
        case .gpu: return "GPU"
        case .neuralEngine: return "NeuralEngine"
        case nil: return nil
        @unknown default: return "unknown"
        }
    }
}
