/**
 * Check of the profile that options are taken from.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { asFailure, type Check, failed, ok } from "./doctor_check.ts";

/** Most of what is wrong says by itself what mends it. */
const MEND = "Mend that file, or choose another profile (--profile, LATCHKEY_PROFILE)";

/** Whether the profile that is named, or the default one, can be read. */
export const profile: Check = {
  id: "profile",
  limitMs: 1000,
  run({ profile: { name, problem } }) {
    if (!problem) return ok(name === undefined ? "none is used" : `options are taken from ${name}`);
    const known = [problem, problem.cause].find((error) => error instanceof LatchkeyError);
    const { detail, fix = MEND } = known ? asFailure(known) : failed(problem.message, MEND);
    return failed(`${detail}; all else was looked at without a profile`, fix);
  },
};
