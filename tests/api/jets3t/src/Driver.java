import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jets3t.service.CloudFrontService;
import org.jets3t.service.CloudFrontServiceException;
import org.jets3t.service.model.cloudfront.DistributionConfig;
import org.jets3t.service.model.cloudfront.OriginAccessIdentity;
import org.jets3t.service.model.cloudfront.OriginAccessIdentityConfig;
import org.jets3t.service.model.cloudfront.StreamingDistribution;
import org.jets3t.service.security.AWSCredentials;

/**
 * Drives one version of jets3t by words: {@code Driver KEY_ID SECRET COMMAND...}, a command being {@code NAME|FIELD|FIELD...}. Each prints one
 * line: its name, then {@code key=value} for what the library gave back, parted by tabs; a refusal prints {@code error} with the library's own
 * reading of it and the commands go on. An empty field is null (no CNAMEs, no comment). {@code $} stands for the id of the distribution made
 * last, {@code @} for that of the identity made last.
 *
 * <p>What differs from version to version is in {@code Calls}.
 */
public final class Driver {
    private final CloudFrontService service;
    private final Calls calls;
    private String made = "";
    private String identity = "";

    private Driver(String keyId, String secret) throws Exception {
        service = new CloudFrontService(new AWSCredentials(keyId, secret));
        calls = new Calls(service);
    }

    public static void main(String[] args) throws Exception {
        Driver driver = new Driver(args[0], args[1]);
        for (int i = 2; i < args.length; i++) {
            System.out.println(driver.run(args[i]));
        }
        System.exit(0);
    }

    private String run(String command) throws Exception {
        String[] words = command.split("\\|", -1);
        try {
            return words[0] + "\t" + call(words);
        } catch (CloudFrontServiceException e) {
            return "error\tof=" + words[0] + "\tstatus=" + e.getResponseCode() + "\ttype=" + e.getErrorType() + "\tcode=" + e.getErrorCode()
                    + "\tmessage=" + e.getErrorMessage() + "\trequest=" + e.getErrorRequestId()
                    + (e.getCause() == null ? "" : "\tcause=" + e.getCause());
        }
    }

    private String call(String[] words) throws Exception {
        switch (words[0]) {
            case "create": {
                StreamingDistribution done = calls.create(new Wanted(words, 1, identity));
                made = done.getId();
                return whole(done);
            }
            case "again":
                return whole(calls.create(new Wanted(words, 1, identity)));
            case "info":
                return whole(service.getStreamingDistributionInfo(id(words[1])));
            case "config":
                return config(service.getStreamingDistributionConfig(id(words[1])));
            case "list": {
                List<String> all = new ArrayList<>();
                for (StreamingDistribution one : words.length > 1
                        ? service.listStreamingDistributions(Integer.parseInt(words[1]))
                        : service.listStreamingDistributions()) {
                    all.add(one.getId() + ":" + one.getStatus() + ":" + one.isEnabled() + ":" + calls.origin(one));
                }
                return "ids=" + String.join(",", all);
            }
            case "update":
                return config(calls.update(id(words[1]), new Wanted(words, 2, identity)));
            case "disable":
                service.disableStreamingDistributionForDeletion(id(words[1]));
                return "done=true";
            case "delete":
                service.deleteStreamingDistribution(id(words[1]));
                return "done=true";
            case "wait": {
                long end = System.nanoTime() + 60_000_000_000L;
                while (true) {
                    StreamingDistribution now = service.getStreamingDistributionInfo(id(words[1]));
                    if (now.isDeployed() || System.nanoTime() > end) {
                        return "status=" + now.getStatus();
                    }
                    Thread.sleep(100);
                }
            }
            case "oai-create": {
                OriginAccessIdentity done = service.createOriginAccessIdentity(empty(words[1]), empty(words[2]));
                identity = done.getId();
                return "id=" + done.getId() + "\tuser=" + done.getS3CanonicalUserId() + "\tcomment=" + done.getConfig().getComment();
            }
            case "oai-list": {
                List<String> all = new ArrayList<>();
                for (Object one : service.getOriginAccessIdentityList()) {
                    all.add(((OriginAccessIdentity) one).getId());
                }
                return "ids=" + String.join(",", all);
            }
            case "oai-info":
                return "id=" + service.getOriginAccessIdentity(id(words[1])).getId();
            case "oai-update":
                return identity(service.updateOriginAccessIdentityConfig(id(words[1]), words[2]));
            case "oai-config":
                return identity(service.getOriginAccessIdentityConfig(id(words[1])));
            case "oai-delete":
                service.deleteOriginAccessIdentity(id(words[1]));
                return "done=true";
            case "hold": {
                // Lets the test do something in between: it makes this file when we may go on.
                Path gate = Path.of(words[1]);
                Files.write(Path.of(words[1] + ".reached"), made.getBytes(StandardCharsets.UTF_8));
                long end = System.nanoTime() + 60_000_000_000L;
                while (!Files.exists(gate)) {
                    if (System.nanoTime() > end) {
                        throw new UncheckedIOException(new IOException("nobody made " + gate));
                    }
                    Thread.sleep(20);
                }
                return "done=true";
            }
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private String id(String word) {
        return word.equals("$") ? made : word.equals("@") ? identity : word;
    }

    static String empty(String word) {
        return word.isEmpty() ? null : word;
    }

    private String whole(StreamingDistribution one) {
        return "id=" + one.getId() + "\tstatus=" + one.getStatus() + "\tdomain=" + one.getDomainName() + "\tmodified="
                + one.getLastModifiedTime().getTime() + "\t" + config(one.getConfig());
    }

    private String config(DistributionConfig config) {
        return "origin=" + calls.origin(config) + "\tidentity=" + calls.identity(config) + "\treference=" + config.getCallerReference() + "\tcnames="
                + String.join(",", config.getCNAMEs() == null ? new String[0] : config.getCNAMEs()) + "\tcomment=" + config.getComment() + "\tenabled="
                + config.isEnabled() + "\tself=" + config.isTrustedSignerSelf() + "\tsigners="
                + String.join(",", config.getTrustedSignerAwsAccountNumbers() == null ? new String[0] : config.getTrustedSignerAwsAccountNumbers())
                + "\tlogging=" + (config.getLoggingStatus() == null ? "" : config.getLoggingStatus().getBucket() + "/" + config.getLoggingStatus().getPrefix())
                + "\tetag=" + config.getEtag();
    }

    private String identity(OriginAccessIdentityConfig config) {
        return "reference=" + config.getCallerReference() + "\tcomment=" + config.getComment() + "\tetag=" + config.getEtag();
    }

    /** What a create or an update asks for: {@code BUCKET|REFERENCE|CNAME,CNAME|COMMENT|ENABLED[|IDENTITY|SIGNER,SIGNER|LOGBUCKET/PREFIX]}. */
    static final class Wanted {
        final String bucket;
        final String reference;
        final String[] cnames;
        final String comment;
        final boolean enabled;
        /** Whether anything beyond the five values that streaming began with is asked for. */
        final boolean more;
        final String identity;
        final boolean self;
        final String[] signers;
        final String logBucket;
        final String logPrefix;

        Wanted(String[] words, int from, String made) {
            bucket = word(words, from);
            reference = word(words, from + 1);
            cnames = list(word(words, from + 2));
            comment = word(words, from + 3);
            enabled = Boolean.parseBoolean(word(words, from + 4));
            String oai = word(words, from + 5);
            identity = "@".equals(oai) ? made : oai;
            List<String> numbers = new ArrayList<>();
            boolean me = false;
            String[] signing = list(word(words, from + 6));
            for (String one : signing == null ? new String[0] : signing) {
                if (one.equals("self")) {
                    me = true;
                } else {
                    numbers.add(one);
                }
            }
            self = me;
            signers = numbers.toArray(new String[0]);
            String log = word(words, from + 7);
            int slash = log == null ? -1 : log.indexOf('/');
            logBucket = slash < 0 ? null : log.substring(0, slash);
            logPrefix = slash < 0 ? null : log.substring(slash + 1);
            more = words.length > from + 5;
        }

        private static String word(String[] words, int i) {
            return i < words.length ? Driver.empty(words[i]) : null;
        }

        private static String[] list(String word) {
            return word == null ? null : word.split(",");
        }
    }
}
