// The proxy of `latchkey serve --upstream` with a played token, without a broker: prints its port.
import process from "node:process";
import { openUpstreamProxy } from "../../bin/commands/serve/upstream.ts";
import { readUpstream } from "../../bin/commands/serve/upstream_rules.ts";

const accessToken = "t".repeat(1500), secret = "s".repeat(40); // as in upstream_programs.mjs
const { port } = await openUpstreamProxy({ port: 0, secret }, {
  upstreams: [readUpstream(process.argv[2]!)],
  isLogged: false,
  onOutcome: () => {},
  acquire: () =>
    Promise.resolve({ accessToken, tokenType: "Bearer", expiresOn: new Date(Date.now() + 3_600_000) } as never),
});
process.stdout.write(`${port}\n`);
