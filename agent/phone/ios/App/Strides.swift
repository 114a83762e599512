// Where an array's numbers lie that a runtime may have laid out with gaps.

import Foundation

/// How many elements from the begin the one at `index` lies, counted row after row.
func offset(of index: Int, shape: [Int], strides: [Int]) -> Int {
    var rest = index
    var sum = 0
    for (size, stride) in zip(shape, strides).reversed() {
        sum += rest % size * stride
        rest /= size
    }
    return sum
}
