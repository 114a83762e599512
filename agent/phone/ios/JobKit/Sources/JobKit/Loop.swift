// The timed loops: warm-up until stationary, then raw samples, with nothing else inside.

/// A clock in nanoseconds that never stands still, and one inference.
public typealias Clock = () -> Int64
public typealias Invoke = () throws -> Void

public let leastSamples = 10
private let block = 5
private let stationaryWithin = 0.02

/// Infers in blocks of 5 until the medians of two blocks in a row differ by at most 2 %.
public func warmUp(_ invoke: Invoke, most: Int, clock: Clock) throws -> [Int64] {
    var taken: [Int64] = []
    var before: Int64 = 0
    while taken.count < most {
        let samples = try sample(
            invoke, count: min(block, most - taken.count), maxS: .infinity, least: 0, clock: clock)
        taken += samples
        let median = samples.sorted()[samples.count / 2]
        if before != 0 && Double(abs(median - before)) <= stationaryWithin * Double(before) {
            break
        }
        before = median
    }
    return taken
}

/// Times `invoke` alone, `count` times but not beyond `maxS` once `least` are taken.
public func sample(
    _ invoke: Invoke, count: Int, maxS: Double, least: Int, clock: Clock
) throws -> [Int64] {
    // Written to beforehand, so that no page of it is missing in the loop.
    var samples = [Int64](repeating: 0, count: count)
    let began = clock()
    for index in 0..<count {
        let begin = clock()
        try invoke()
        samples[index] = clock() - begin
        if Double(begin - began) > maxS * 1e9 && index + 1 >= least {
            return Array(samples[...index])
        }
    }
    return samples
}
