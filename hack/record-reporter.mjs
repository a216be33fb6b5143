/** A jest reporter that keeps what hack/test.ts needs: each test's title and outcome. jest's own --json fails on errors that hold circles. */
import { writeFileSync } from 'node:fs';

export default class RecordReporter {
  onRunComplete(_contexts, results) {
    const tests = results.testResults.flatMap(({ testResults }) =>
      testResults.map(({ title, fullName, status }) => ({ title, fullName, status })),
    );
    writeFileSync(
      process.env.DOVECOTE_TEST_RECORD,
      JSON.stringify({
        passed: results.numPassedTests,
        failed: results.numFailedTests,
        brokenSuites: results.numRuntimeErrorTestSuites,
        tests,
      }),
    );
  }
}
