// A program that is done while it watches the broker.
import process from "node:process";
import { openBrokerChannel } from "../../mod.ts";

const channel = await openBrokerChannel({ clientId: "11111111-2222-4333-8444-555555555555" });
await channel.onChange(() => {});
process.stdout.write("watching\n");
