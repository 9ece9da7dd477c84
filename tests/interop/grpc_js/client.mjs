// An official gRPC client that knows proto/ and nothing else: one Match, its answer as JSON on stdout.
//
//   node client.mjs <host:port> <api key> '{"orderId": "o1", "bid": {"model": "gpt-4", "promptTokens": 10, "maxTokens": 10}}'
//
// GOLLEM_PROTO names the folder of the .proto files. A refusal is {"code", "details"} and exit status 1.
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";

// require() looks into NODE_PATH, which import does not: the packages may lie anywhere.
const require = createRequire(import.meta.url);
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [address, key, request] = process.argv.slice(2);
const protoFolder = process.env.GOLLEM_PROTO ?? fileURLToPath(new URL("../../../proto", import.meta.url));

const definition = protoLoader.loadSync("gollem/v1/market.proto", {
  includeDirs: [protoFolder],
  longs: String,
  enums: String,
});
const { MarketService } = grpc.loadPackageDefinition(definition).gollem.v1;
const client = new MarketService(address, grpc.credentials.createInsecure());

const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${key}`);

client.Match(JSON.parse(request), metadata, { deadline: Date.now() + 10_000 }, (error, answer) => {
  console.log(JSON.stringify(error ? { code: error.code, details: error.details } : answer));
  process.exitCode = error ? 1 : 0;
  client.close();
});
