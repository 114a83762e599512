// The fixed inputs and reference outputs: made up, cut into samples, compared.

import Foundation

/// One inference: its inputs, and the outputs to be expected (none without a reference).
public struct Case: Equatable {
    public let inputs: [String: FixedArray]
    public let expected: [String: FixedArray]
}

/// What to infer, the case that is timed first.
///
/// Without `inputs` one case is made up: cos(0), cos(1) ... for reals, zeros for the rest, free
/// dimensions of 1. Otherwise arrays may hold several samples along their first axis: they are cut
/// to the model's own batch, or to single samples where its batch is free.
public func makeCases(
    _ declared: [Tensor], inputs: [String: FixedArray], expected: [String: FixedArray]
) throws -> [Case] {
    if inputs.isEmpty {
        return [Case(inputs: byName(declared) { madeUp($0) }, expected: [:])]
    }
    let fitted = try byName(declared) { try pick(inputs, $0, of: declared.count) }
    guard let batch = try batchSize(declared, fitted, expected) else {
        return [Case(inputs: fitted, expected: expected)]
    }
    let samples = fitted.first?.value.shape[0] ?? 0
    return stride(from: 0, to: samples, by: batch).map { at in
        let range = at..<(at + batch)
        return Case(
            inputs: fitted.mapValues { $0.samples(range) },
            expected: expected.mapValues { $0.samples(range) })
    }
}

/// The error of every expected output, by name.
public func compare(
    _ outputs: [String: FixedArray], with expected: [String: FixedArray]
) throws -> [OutputError] {
    try expected.sorted { $0.key < $1.key }.map { name, reference in
        try outputError(name, try output(outputs, name, of: expected.count), reference)
    }
}

/// One error per output over all cases: the largest difference to the largest magnitude.
public func worst(_ errors: [OutputError]) -> [OutputError] {
    var found: [String: OutputError] = [:]
    for each in errors {
        guard let other = found[each.name] else {
            found[each.name] = each
            continue
        }
        var largest: Double?
        if let one = each.largest, let two = other.largest { largest = max(one, two) }
        found[each.name] = OutputError(
            name: each.name, largest: largest, magnitude: max(each.magnitude, other.magnitude))
    }
    return found.values.sorted { $0.name < $1.name }
}

private func byName(
    _ declared: [Tensor], _ make: (Tensor) throws -> FixedArray
) rethrows -> [String: FixedArray] {
    var found: [String: FixedArray] = [:]
    for each in declared { found[each.name] = try make(each) }
    return found
}

private func madeUp(_ tensor: Tensor) -> FixedArray {
    let shape = tensor.shape.map { max($0, 1) }
    let count = shape.reduce(1, *)
    let values = (0..<count).map { tensor.type.isReal ? cos(Double($0)) : 0 }
    return FixedArray(type: tensor.type, shape: shape, values: values)
}

private func pick(
    _ inputs: [String: FixedArray], _ tensor: Tensor, of count: Int
) throws -> FixedArray {
    let only = count == 1 && inputs.count == 1 ? inputs.first?.value : nil
    guard let array = inputs[tensor.name] ?? only else {
        let names = inputs.keys.sorted().joined(separator: ", ")
        throw LaunchFailure.badInputs(
            "the fixed inputs have no array '\(tensor.name)'; they have \(names)")
    }
    guard let fitting = array.cast(to: tensor.type) else {
        throw LaunchFailure.badInputs(
            "input '\(tensor.name)' takes \(tensor.type.rawValue), not \(array.type.rawValue)")
    }
    return fitting
}

/// How many samples one inference takes; nil when the arrays are one inference as they are.
private func batchSize(
    _ declared: [Tensor], _ inputs: [String: FixedArray], _ expected: [String: FixedArray]
) throws -> Int? {
    for tensor in declared {
        let shape = inputs[tensor.name]?.shape ?? []
        let inner = fits(Array(shape.dropFirst()), Array(tensor.shape.dropFirst()))
        guard shape.count == tensor.shape.count, inner else { throw misfit(tensor, shape) }
    }
    let arrays = Array(inputs.values) + Array(expected.values)
    let lengths = Set(arrays.map { $0.shape.first })
    let firsts = Set(declared.map { $0.shape.first })
    if lengths.count == 1, firsts.count == 1, let length = lengths.first ?? nil, length > 0,
        let first = firsts.first ?? nil
    {
        let batch = max(first, 1)
        if length % batch == 0 { return batch }
    }
    for tensor in declared {
        let shape = inputs[tensor.name]?.shape ?? []
        guard fits(shape, tensor.shape) else { throw misfit(tensor, shape) }
    }
    return nil
}

private func misfit(_ tensor: Tensor, _ shape: [Int]) -> LaunchFailure {
    LaunchFailure.badInputs(
        "input '\(tensor.name)' takes shape \(tensor.shape), not \(shape); samples lie along the "
            + "first axis, as many in every array and a multiple of the model's batch")
}

private func fits(_ shape: [Int], _ declared: [Int]) -> Bool {
    shape.count == declared.count
        && zip(shape, declared).allSatisfy { $1 == -1 || $0 == $1 }
}

private func output(
    _ outputs: [String: FixedArray], _ name: String, of count: Int
) throws -> FixedArray {
    let only = count == 1 && outputs.count == 1 ? outputs.first?.value : nil
    guard let found = outputs[name] ?? only else {
        let names = outputs.keys.sorted().joined(separator: ", ")
        throw LaunchFailure.badInputs("the model has no output '\(name)'; it has \(names)")
    }
    return found
}

private func outputError(
    _ name: String, _ found: FixedArray, _ reference: FixedArray
) throws -> OutputError {
    let wanted = reference.values
    let magnitude = wanted.reduce(0) { max($0, abs($1)) }
    guard wanted.allSatisfy({ $0.isFinite }) else {
        throw LaunchFailure.badInputs("the reference output '\(name)' has numbers that are none")
    }
    if found.shape != reference.shape {
        return OutputError(name: name, largest: nil, magnitude: magnitude)
    }
    var largest = 0.0
    for (one, two) in zip(found.values, wanted) {
        let difference = abs(one - two)
        if !difference.isFinite {
            return OutputError(name: name, largest: nil, magnitude: magnitude)
        }
        largest = max(largest, difference)
    }
    return OutputError(name: name, largest: largest, magnitude: magnitude)
}
