import Foundation
import XCTest

@testable import JobKit

final class ArrayTests: XCTestCase {
    private let declared = [Tensor(name: "x", type: .float32, shape: [1, 2])]

    private func floats(_ shape: [Int], _ values: [Double]) -> FixedArray {
        FixedArray(type: .float32, shape: shape, values: values)
    }

    func testSamplesAreCutToTheModelsBatch() throws {
        let inputs = ["x": floats([2, 2], [1, 2, 3, 4])]
        let cases = try makeCases(declared, inputs: inputs, expected: ["y": floats([2, 1], [5, 6])])
        XCTAssertEqual(cases.map { $0.inputs["x"]?.values }, [[1, 2], [3, 4]])
        XCTAssertEqual(cases.map { $0.expected["y"]?.values }, [[5], [6]])
    }

    func testInputsAreMadeUpWhereNoneAreGiven() throws {
        let cases = try makeCases(declared, inputs: [:], expected: [:])
        XCTAssertEqual(cases.map { $0.inputs["x"]?.values.first }, [1])
    }

    func testWholeNumbersMayComeWiderButMustNotChange() {
        let wide = FixedArray(type: .int64, shape: [1], values: [5])
        XCTAssertEqual(wide.cast(to: .int32)?.values, [5])
        let large = FixedArray(type: .int64, shape: [1], values: [1_099_511_627_776])
        XCTAssertNil(large.cast(to: .int32))
    }

    func testAWrongShapeIsBadInputs() {
        let inputs = ["x": floats([1, 3], [1, 2, 3])]
        XCTAssertThrowsError(try makeCases(declared, inputs: inputs, expected: [:]))
    }

    func testErrorsAreOfTheLargestDifferenceAndMagnitude() throws {
        let found = try compare(["y": floats([2], [1.5, -8.25])], with: ["y": floats([2], [1, -8])])
        XCTAssertEqual(found, [OutputError(name: "y", largest: 0.5, magnitude: 8)])
        let broken = try compare(["y": floats([1], [.nan])], with: ["y": floats([1], [1])])
        XCTAssertNil(broken[0].largest)
        XCTAssertNil(worst(found + broken)[0].largest)
    }

    func testAnArrayOfNumPysIsRead() throws {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n"
        var content = Data([0x93] + Array("NUMPY".utf8) + [1, 0])
        content.append(contentsOf: [UInt8(header.utf8.count), 0])
        content.append(Data(header.utf8))
        content.append(floats([1, 2], [1, 2]).bytes)
        XCTAssertEqual(try readNpy(content, name: "x").values, [1, 2])
        XCTAssertThrowsError(try readNpy(content.dropLast(), name: "x"))
    }

    func testAPathThatLeadsElsewhereIsNotUnpacked() {
        var header = [UInt8](repeating: 0, count: 512)
        header.replaceSubrange(0..<9, with: Array("../escape".utf8))
        header.replaceSubrange(257..<262, with: Array("ustar".utf8))
        header.replaceSubrange(124..<127, with: Array("100".utf8))
        XCTAssertThrowsError(try TarEntry(header))
        header.replaceSubrange(0..<9, with: Array("model/one".utf8))
        XCTAssertEqual(try TarEntry(header).size, 64)
    }
}
