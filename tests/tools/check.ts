// npm run check: all checks, a line each, and what the tool says where one failed.
import { checks, complaintOf } from "./checks.ts";

for (const check of checks) {
  const complaint = await complaintOf(check);
  process.stdout.write(`${complaint === undefined ? "ok    " : "FAILED"} ${check.name}\n${complaint ?? ""}`);
  if (complaint !== undefined) process.exitCode = 1;
}
