// The files that the agent's tests read, too: tests/golden/iphone_jobs.

import Foundation
import XCTest

enum GoldenFiles {
    /// The repository's folder of them, from where this file lies.
    static let folder: URL = {
        var place = URL(fileURLWithPath: #filePath)
        for _ in 0..<7 { place.deleteLastPathComponent() }
        return place.appendingPathComponent("tests/golden/iphone_jobs")
    }()

    static func named(_ prefix: String, in part: String = "") throws -> [URL] {
        let place = part.isEmpty ? folder : folder.appendingPathComponent(part)
        let found = try FileManager.default
            .contentsOfDirectory(at: place, includingPropertiesForKeys: nil)
            .filter { $0.lastPathComponent.hasPrefix(prefix) && $0.pathExtension == "json" }
        XCTAssertFalse(found.isEmpty, "no \(prefix) in \(place.path)")
        return found
    }

    /// Whether two JSON texts say the same.
    static func same(_ one: Data, _ two: Data) throws -> Bool {
        let first = try JSONSerialization.jsonObject(with: one) as? NSDictionary
        let second = try JSONSerialization.jsonObject(with: two) as? NSDictionary
        return first != nil && first == second
    }
}
