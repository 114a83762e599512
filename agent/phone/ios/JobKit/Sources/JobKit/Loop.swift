// The timed loops: warm-up until stationary, then raw samples, with nothing else inside.

/// A clock in nanoseconds that never stands still, and one inference.
public typealias Clock = () -> Int64
public typealias Invoke = () throws -> Void

private let block = 5
private let newsBelow = 0.98
private let patience = 3

/// How long to infer: until `maxS` are over and `least` inferences timed, at most `most`. No more
/// than `kept` samples are kept.
public struct Extent {
    public let most: Int
    public let least: Int
    public let kept: Int
    public let maxS: Double

    public init(most: Int, least: Int, kept: Int, maxS: Double) {
        self.most = most
        self.least = least
        self.kept = kept
        self.maxS = maxS
    }

    /// So many samples there has to be room for.
    var room: Int { kept >= most ? most : kept - kept % 2 }
}

/// What was kept of so many inferences, in nanoseconds and in order.
public struct Sampled: Equatable {
    public let samples: [Int64]
    public let inferences: Int
}

/// Chance as in the agent's `program/chance.py`: the same sequence in every runner.
struct Chance {
    private var state: UInt64 = 0

    /// A number from 0 up to `bound`, a power of two.
    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) & (bound - 1)
    }
}

/// Infers in blocks of 5 until three in a row brought no median that is more than 2 % below the
/// lowest before them.
public func warmUp(_ invoke: Invoke, most: Int, clock: Clock) throws -> [Int64] {
    var taken: [Int64] = []
    var lowest = Double.infinity
    var quiet = 0
    while taken.count < most && quiet < patience {
        let count = min(block, most - taken.count)
        let extent = Extent(most: count, least: count, kept: count, maxS: .infinity)
        let samples = try sample(invoke, extent, clock: clock).samples
        taken += samples
        let median = Double(samples.sorted()[samples.count / 2])
        let isNews = median < newsBelow * lowest
        lowest = isNews ? median : lowest
        quiet = isNews ? 0 : quiet + 1
    }
    return taken
}

/// Times `invoke` alone. Of more inferences than there is room for, one of every stretch of 2, 4,
/// 8 ... is kept, whichever chance chooses: each is as likely to be kept as any other, however long
/// it took.
public func sample(_ invoke: Invoke, _ extent: Extent, clock: Clock) throws -> Sampled {
    let room = extent.room
    // Written to beforehand, so that no page of it is missing in the loop.
    var samples = [Int64](repeating: 0, count: room)
    var chance = Chance()
    var taken = 0
    var stretch = 1
    var chosen = 0
    let began = clock()
    for index in 0..<extent.most {
        if taken == room {
            for pair in 0..<(room / 2) {
                samples[pair] = samples[2 * pair + chance.below(2)]
            }
            taken = room / 2
            stretch *= 2
            chosen = taken * stretch + chance.below(stretch)
        }
        let begin = clock()
        try invoke()
        let took = clock() - begin
        if index == chosen {
            samples[taken] = took
            taken += 1
            chosen = taken * stretch + (stretch > 1 ? chance.below(stretch) : 0)
        }
        if Double(begin - began) > extent.maxS * 1e9 && index + 1 >= extent.least {
            return Sampled(samples: Array(samples[..<taken]), inferences: index + 1)
        }
    }
    return Sampled(samples: Array(samples[..<taken]), inferences: extent.most)
}
