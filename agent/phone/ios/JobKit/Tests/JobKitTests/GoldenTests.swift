import Foundation
import XCTest

@testable import JobKit

final class GoldenTests: XCTestCase {
    func testAJobIsReadAndWrittenAsTheAgentDoes() throws {
        for file in try GoldenFiles.named("job_") {
            let content = try Data(contentsOf: file)
            let job = try JobFile.read(content)
            let written = try JSONEncoder().encode(job)
            XCTAssertTrue(try GoldenFiles.same(written, content), file.lastPathComponent)
        }
    }

    func testAHostileJobIsRefused() throws {
        for file in try GoldenFiles.named("job_", in: "hostile") {
            let content = try Data(contentsOf: file)
            XCTAssertThrowsError(try JobFile.read(content), file.lastPathComponent) { error in
                XCTAssertTrue(error is JobMistake, "\(file.lastPathComponent): \(error)")
            }
        }
    }

    func testAStatusIsWrittenAsTheAgentReadsIt() throws {
        for file in try GoldenFiles.named("status_") {
            try checkRoundTrip(of: StatusFile.self, file)
        }
    }

    func testAResultIsWrittenAsTheAgentReadsIt() throws {
        for file in try GoldenFiles.named("result_") {
            try checkRoundTrip(of: ResultFile.self, file)
        }
    }

    private func checkRoundTrip<Answer: Codable>(of kind: Answer.Type, _ file: URL) throws {
        let content = try Data(contentsOf: file)
        let answer = try JSONDecoder().decode(kind, from: content)
        let written = try JSONEncoder().encode(answer)
        XCTAssertTrue(try GoldenFiles.same(written, content), file.lastPathComponent)
    }
}
